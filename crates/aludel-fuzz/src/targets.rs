//! One function for each kind of file: it opens the bytes and then uses what was opened, since what a reader lets through may
//! still trip whoever comes after it. What a target needs beside its input is fixed and small.

use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

use aludel_data::dataset::{self, ReadOptions};
use aludel_formats::{Dtype, TensorSpec, gguf, peft, safetensors};
use aludel_kernels::quant;
use aludel_model::config::Config;
use aludel_model::student::Student;
use aludel_teacher::client::{Dialect, Endpoint, read_body};
use aludel_text::encode::{EncodeOptions, LossOn, encode, end_of_turn_id};
use aludel_text::{ChatTemplate, Message, Tokenizer};
use serde_json::{Value, json};

use crate::scratch::Scratch;
use crate::seeds;

/// Whether the input was taken; if not, what its reader said.
pub type Outcome = Result<(), String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A GGUF: its head, all its tensors, and the model in it.
pub(crate) fn gguf(bytes: &[u8], scratch: &Scratch) -> Outcome {
    let path = scratch.write("model.gguf", bytes);
    let _ = gguf::architecture(&bytes[..bytes.len().min(4096)]);
    let file = gguf::File::open(&path).map_err(told)?;
    for (key, value) in file.metadata().iter() {
        let _ = (value.describe(), value.as_integer(), file.metadata().u32s(key).is_ok());
    }
    for tensor in file.tensors() {
        first_row(tensor.dtype, &tensor.shape, tensor.bytes);
    }
    drop(file);
    student(&path)
}

/// Decodes the first row of a stored tensor.
fn first_row(dtype: Dtype, shape: &[usize], bytes: &[u8]) {
    let block_type = quant::BlockType::ALL.into_iter().find(|block_type| block_type.to_string() == dtype.name());
    // The length of a row is a claim of the file until it is compared with the bytes.
    if let (Some(block_type), Some(&columns)) = (block_type, shape.last())
        && block_type.bytes_for(columns).is_some_and(|row| row <= bytes.len())
    {
        let _ = quant::decode_row(block_type, bytes, 0, &mut vec![0.0; columns]);
    }
}

/// Opens a model, and reads what training reads of it before it starts.
fn student(path: &Path) -> Outcome {
    let student = Student::open(path).map_err(told)?;
    let _ = student.hub_name();
    let roles: Vec<_> = student.weights.layout().tensors().map(|(role, _)| role).collect();
    for role in roles {
        student.weights.tensor(role).map_err(told)?.values().map_err(told)?;
    }
    student.text.tokenizer.encode("a b").map_err(told)?;
    Ok(())
}

/// One file of safetensors, all of whose tensors are looked at.
pub(crate) fn safetensors(bytes: &[u8], scratch: &Scratch) -> Outcome {
    let weights = safetensors::Weights::open_file(scratch.write("model.safetensors", bytes)).map_err(told)?;
    for tensor in weights.tensors() {
        let tensor = tensor.map_err(told)?;
        first_row(tensor.dtype, &tensor.shape, tensor.bytes);
    }
    let _ = weights.metadata().len();
    Ok(())
}

/// A model's `config.json`.
pub(crate) fn model_config(bytes: &[u8], _: &Scratch) -> Outcome {
    let json: Value = serde_json::from_slice(bytes).map_err(told)?;
    let config = Config::from_hf(&json, Path::new("config.json")).map_err(told)?;
    // Sizes are only claims: a config may speak of a model that nobody could hold.
    if config.head_dim <= 1 << 16 {
        let _ = (config.inverse_frequencies(), config.long_frequencies());
    }
    Ok(())
}

/// An adapter's config beside fixed tensors: which modules it is for, and how.
pub(crate) fn adapter_config(bytes: &[u8], scratch: &Scratch) -> Outcome {
    scratch.write(peft::CONFIG_FILE_NAME, bytes);
    let weights = scratch.path().join(peft::WEIGHTS_FILE_NAME);
    if !weights.exists() {
        let path = "base_model.model.model.layers.0.self_attn.q_proj";
        let tensors = [("lora_A", [4, 8]), ("lora_B", [8, 4])]
            .map(|(part, shape)| TensorSpec::new(format!("{path}.{part}.weight"), Dtype::F32, shape));
        let zeros = |_: &TensorSpec| Ok::<_, aludel_formats::Error>(Cow::Owned(vec![0; 4 * 4 * 8]));
        safetensors::save_file(&weights, &tensors, &safetensors::hf_metadata(), zeros).map_err(told)?;
    }
    let adapter = peft::read(scratch.path()).map_err(told)?;
    let rules = adapter.rules(&["q_proj", "v_proj"]).map_err(told)?;
    for module in ["model.layers.0.self_attn.q_proj", "model.layers.31.mlp.down_proj", "lm_head", ""] {
        let (is_target, scale) = (rules.is_target(module), rules.scale(module));
        is_target.map_err(told).and(scale.map_err(told))?;
    }
    Ok(())
}

/// A `tokenizer.json`, and what training and chat do with one.
pub(crate) fn tokenizer_json(bytes: &[u8], _: &Scratch) -> Outcome {
    let mut tokenizer = Tokenizer::from_json(bytes, "tokenizer.json").map_err(told)?;
    let texts =
        ["", "Hello world, hello!", "é e\u{301} 中文 🙂\r\n\t12'34 <|im_end|> [UNK] ▁▁ ##ld", &"ab ".repeat(200)];
    for text in texts {
        let _ = tokenizer.spells_control(text);
        let _ = tokenizer.encode_plain(text);
        if let Ok(ids) = tokenizer.encode(text) {
            let _ = tokenizer.decode(&ids, true);
            let mut stream = tokenizer.stream(false);
            ids.iter().for_each(|&id| drop(stream.push(id)));
            stream.finish();
        }
    }
    let _ = tokenizer.decode(&[0, 1, u32::MAX], false);
    let _ = tokenizer.add_tokens(&["<think>".to_owned()]);
    let _ = tokenizer.fingerprint();
    Ok(())
}

/// A chat template's text, rendered for a training row, a prompt, and the end of a turn.
pub(crate) fn chat_template(bytes: &[u8], _: &Scratch) -> Outcome {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    let tokenizer = TOKENIZER.get_or_init(|| {
        Tokenizer::from_gguf(&seeds::vocabulary(), "seed").expect("the vocabulary of the seeds is a good one")
    });
    let source = std::str::from_utf8(bytes).map_err(told)?;
    let template = ChatTemplate::new(source, Some("<|im_start|>"), Some("<|im_end|>")).map_err(told)?;
    let mut answer = Message::assistant("It is 42.");
    answer.reasoning = Some("Six times seven.".to_owned());
    let messages = [Message::system("Be brief."), Message::user("6 x 7?"), answer];
    let train = EncodeOptions::train(LossOn::default());
    let (row, end) = (encode(&template, tokenizer, &messages, &train), end_of_turn_id(&template, tokenizer, &train));
    let prompt = encode(&template, tokenizer, &messages[..2], &EncodeOptions::prompt(true));
    // Most templates know no tools, and say so.
    let _ = encode(&template, tokenizer, &with_tools(), &train);
    row.map_err(told)?;
    end.map_err(told)?;
    prompt.map(drop).map_err(told)
}

/// A conversation with a tool, a call with text and reasoning beside it, and a result.
fn with_tools() -> Vec<Message> {
    let conversation = json!([
        {"role": "user", "content": "6 x 7?", "tools": [{"name": "times", "parameters": {"properties": {"a": {}}}}]},
        {"role": "assistant", "content": "\nI see.\n", "reasoning_content": "Hm.",
            "tool_calls": [{"id": "123456789", "function": {"name": "times", "arguments": {"a": 6, "b": [7, "x"]}}}]},
        {"role": "tool", "tool_call_id": "123456789", "name": "times", "content": "42"},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "times", "arguments": "{}"}}]},
    ]);
    serde_json::from_value(conversation).expect("a constant conversation is a good one")
}

/// A Parquet file as training data, row by row.
pub(crate) fn parquet(bytes: &[u8], scratch: &Scratch) -> Outcome {
    let path = scratch.write("rows.parquet", bytes);
    let options = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
    let mut records = dataset::open(&[path], &options).map_err(told)?;
    while records.next_row().map_err(told)?.is_some() {}
    Ok(())
}

/// The body of a teacher's answer, in every dialect and shape; how it is cut into pieces follows from the bytes.
pub(crate) fn sse(bytes: &[u8], _: &Scratch) -> Outcome {
    let size = 1 + bytes.iter().fold(0usize, |sum, &byte| (sum * 31 + usize::from(byte)) % 97);
    let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
    let mut outcome = Err("no dialect".to_owned());
    for dialect in [Dialect::OpenAi, Dialect::Ollama] {
        for kind in ["text/event-stream", "application/x-ndjson", "application/json"] {
            let endpoint = Endpoint::new("http://localhost/v1", dialect);
            let read = read_body(&endpoint, kind, &pieces);
            if kind == "text/event-stream" {
                // However they are cut, the bytes say the same.
                let whole = read_body(&endpoint, kind, &[bytes]);
                let words = |read: &Result<aludel_teacher::client::Answer, _>| {
                    read.as_ref().ok().map(|answer| (answer.content.clone(), answer.reasoning.clone()))
                };
                assert_eq!(words(&read), words(&whole), "cut into pieces of {size} bytes");
            }
            outcome = outcome.or(read.map(drop).map_err(told));
        }
    }
    outcome
}
