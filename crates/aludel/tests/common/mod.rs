//! Runs the built binary in a temporary folder and returns its output as one text; and writes a byte-level student of one
//! layer.
#![allow(dead_code, reason = "each test takes what it needs of the workshop")]

#[cfg(unix)]
pub(crate) mod terminal;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A temporary folder to run in.
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::with_prefix("aludel-cli-").unwrap() }
    }

    /// An empty folder with a student in it, in `student`.
    pub(crate) fn with_student() -> Self {
        let workshop = Self::new();
        write_student(&workshop.path("student"), 8);
        workshop
    }

    /// A student, 24 rows in `rows.jsonl`, and in `teacher` the same model once it has learnt them.
    pub(crate) fn with_teacher() -> Self {
        let workshop = Self::with_student();
        let row = |i: usize| serde_json::json!({"prompt": format!("{i}+1?"), "response": format!("It is {}.", i + 1)});
        workshop.write("rows.jsonl", &(0..24).map(|i| format!("{}\n", row(i))).collect::<String>());
        let more = ["--dtype", "f32", "--learning-rate", "0.05", "--set", "train.num_train_epochs=3"];
        let taught = workshop.command(&train_args("taught", &more)).output().unwrap();
        assert!(taught.status.success(), "{}", String::from_utf8_lossy(&taught.stderr));
        workshop.json(&["merge", "--adapter", "taught/adapter", "--output-dir", "teacher", "--dtype", "f32", "--json"]);
        workshop
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, contents: &str) -> &Self {
        fs::write(self.path(name), contents).unwrap();
        self
    }

    /// The binary, to be run in the folder, independent of the environment of the tests.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aludel"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for name in ["ALUDEL_LOG", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "NO_COLOR", "RUST_BACKTRACE"] {
            command.env_remove(name);
        }
        command
    }

    /// Exit code, standard output and standard error in one text, the folder's own path replaced by `[folder]`.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let mut text = format!("$ aludel {}\n", arguments.join(" "));
        writeln!(text, "exit code: {}", output.status.code().unwrap()).unwrap();
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            if !bytes.is_empty() {
                writeln!(text, "----- {name} -----").unwrap();
                text.push_str(&String::from_utf8(bytes).unwrap());
            }
        }
        let folder = self.folder.path().canonicalize().unwrap();
        let text: String = text.split_inclusive('\n').map(without_memory).collect();
        text.replace(&folder.display().to_string(), "[folder]")
            .replace(&self.folder.path().display().to_string(), "[folder]")
            .replace(env!("CARGO_PKG_VERSION"), "[version]")
    }

    /// What a run with `--json` prints, which must be JSON and nothing else.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.command(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The arguments that train the student in `student` on `rows.jsonl`, with up to 256 tokens a row, and then `more`.
pub(crate) fn train_args<'a>(output_dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    train_args_of("student", output_dir, more)
}

/// [`train_args`] for another student than the one in `student`.
pub(crate) fn train_args_of<'a>(student: &'a str, output_dir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let usual =
        ["train", "--student", student, "--data", "rows.jsonl", "--output-dir", output_dir, "--max-length", "256"];
    [&usual[..], more].concat()
}

/// A line of `inspect` without what depends on the machine and the build.
fn without_memory(line: &str) -> String {
    match line.strip_prefix("memory in training: about ").and_then(|rest| rest.split_once(" MB")) {
        Some((_, rest)) => format!("memory in training: about [number] MB{rest}"),
        None => line.to_owned(),
    }
}

const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + \
                        '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// A Llama of one layer with this number of channels, whose vocabulary has the 256 bytes and two control tokens.
pub(crate) fn write_student(folder: &Path, width: usize) {
    const VOCABULARY: usize = 258;
    fs::create_dir(folder).unwrap();
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": width,
        "intermediate_size": width.max(16), "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "bos_token_id": 256, "eos_token_id": 257, "torch_dtype": "float32",
    });
    let control = |id: usize, content: &str| {
        serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let vocabulary: serde_json::Map<_, _> =
        (0..=255).map(|byte| (letter_of(byte).to_string(), serde_json::json!(byte))).collect();
    let byte_level = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": true});
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [control(256, "<|im_start|>"), control(257, "<|im_end|>")],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []},
    });
    let tokenizer_config = serde_json::json!({"tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"});
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), tokenizer_config.to_string()).unwrap();
    fs::write(folder.join("chat_template.jinja"), TEMPLATE).unwrap();
    fs::write(folder.join("model.safetensors"), weights(VOCABULARY, width)).unwrap();
}

/// The letter by which byte-level BPE writes a byte: itself where it is visible, else one from U+0100 on.
fn letter_of(byte: u8) -> char {
    let is_visible = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_visible(byte) {
        return char::from(byte);
    }
    let hidden_before = (0..byte).filter(|&other| !is_visible(other)).count();
    char::from_u32(256 + u32::try_from(hidden_before).unwrap()).unwrap()
}

/// A safetensors file with all the weights of the model: reproducible numbers within ±0.5.
fn weights(vocabulary: usize, width: usize) -> Vec<u8> {
    let layer = "model.layers.0.";
    let shapes = [
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, width]),
        ("model.norm.weight".to_owned(), vec![width]),
        (format!("{layer}input_layernorm.weight"), vec![width]),
        (format!("{layer}post_attention_layernorm.weight"), vec![width]),
        (format!("{layer}self_attn.q_proj.weight"), vec![width, width]),
        (format!("{layer}self_attn.k_proj.weight"), vec![width / 2, width]),
        (format!("{layer}self_attn.v_proj.weight"), vec![width / 2, width]),
        (format!("{layer}self_attn.o_proj.weight"), vec![width, width]),
        (format!("{layer}mlp.gate_proj.weight"), vec![width.max(16), width]),
        (format!("{layer}mlp.up_proj.weight"), vec![width.max(16), width]),
        (format!("{layer}mlp.down_proj.weight"), vec![width, width.max(16)]),
    ];
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in shapes {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name, serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}));
    }
    let mut header = serde_json::Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    let mut state = 1u64;
    for _ in 0..end / 4 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        bytes.extend(number.to_le_bytes());
    }
    bytes
}
