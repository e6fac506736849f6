//! Students and teachers so small that they are made here: a folder with a byte-level tokenizer of a few merges, written anew with
//! other tokens, templates or weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aludel_distill::settings::{Dtype, Interval, MaxLength, Recipe, Schedule};
use aludel_formats::safetensors::Weights;
use serde_json::{Value, json};

/// Turns as most templates of today write them.
pub(crate) const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + \
                                 '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const WIDTH: usize = 32;
const CONTROL: [&str; 6] = ["<|im_start|>", "<|im_end|>", "<|bos|>", "<|user|>", "<|assistant|>", "<|stop|>"];
const MERGES: [&str; 6] = ["Ġ t", "t h", "e r", "i s", "Ġ is", "th e"];

/// A model folder in the making.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) config: Value,
    pub(crate) vocabulary: Vec<String>,
    pub(crate) merges: Vec<String>,
    /// Tokens after the vocabulary.
    pub(crate) control: Vec<String>,
    /// Numbers are split into digits before they are merged.
    pub(crate) splits_digits: bool,
    pub(crate) tokenizer_config: Value,
    pub(crate) template: Option<String>,
    /// Each with its shape.
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Model {
    /// A Llama of two layers with random weights.
    pub(crate) fn new(seed: u64) -> Model {
        let mut vocabulary: Vec<String> = (0..=255).map(letter_of).map(String::from).collect();
        vocabulary.extend(MERGES.map(|merge| merge.replace(' ', "")));
        let count = vocabulary.len() + CONTROL.len();
        let end = vocabulary.len() + 1;
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": count, "hidden_size": WIDTH,
            "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
            "tie_word_embeddings": false, "eos_token_id": end, "torch_dtype": "float32",
        });
        let mut model = Model {
            config,
            vocabulary,
            merges: MERGES.map(str::to_owned).to_vec(),
            control: CONTROL.map(str::to_owned).to_vec(),
            splits_digits: false,
            tokenizer_config: json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}),
            template: Some(CHATML.to_owned()),
            tensors: BTreeMap::new(),
        };
        let mut random = Random(seed);
        let mut add = |name: String, shape: Vec<usize>, scale: f32| {
            let values = match scale {
                0.0 => vec![1.0; shape[0]],
                scale => (0..shape.iter().product()).map(|_| scale * random.next()).collect(),
            };
            model.tensors.insert(name, (shape, values));
        };
        add("model.embed_tokens.weight".to_owned(), vec![count, WIDTH], 1.0);
        add("lm_head.weight".to_owned(), vec![count, WIDTH], 0.5);
        add("model.norm.weight".to_owned(), vec![WIDTH], 0.0);
        for layer in 0..2 {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            add(name("input_layernorm"), vec![WIDTH], 0.0);
            add(name("post_attention_layernorm"), vec![WIDTH], 0.0);
            for (part, rows, columns) in [
                ("self_attn.q_proj", WIDTH, WIDTH),
                ("self_attn.k_proj", WIDTH / 2, WIDTH),
                ("self_attn.v_proj", WIDTH / 2, WIDTH),
                ("self_attn.o_proj", WIDTH, WIDTH),
                ("mlp.gate_proj", 64, WIDTH),
                ("mlp.up_proj", 64, WIDTH),
                ("mlp.down_proj", WIDTH, 64),
            ] {
                add(name(part), vec![rows, columns], 1.0 / (columns as f32).sqrt());
            }
        }
        model
    }

    /// The same files with the weights of a folder.
    pub(crate) fn with_weights_of(&self, folder: &Path) -> Model {
        let weights = Weights::open_folder(folder).unwrap();
        let tensors = weights.tensors().map(|view| {
            let view = view.unwrap();
            let values =
                view.bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
            (view.name.to_string(), (view.shape.to_vec(), values))
        });
        Model { tensors: tensors.collect(), ..self.clone() }
    }

    /// The same model with another template and eos token.
    pub(crate) fn with_template(mut self, template: Option<&str>, eos: &str) -> Model {
        self.template = template.map(str::to_owned);
        let id = self.vocabulary.len() + self.control.iter().position(|token| token == eos).unwrap();
        self.tokenizer_config["eos_token"] = json!(eos);
        self.config["eos_token_id"] = json!(id);
        self
    }

    /// Gives both matrices of the vocabulary `rows` rows, random where they are new.
    pub(crate) fn with_rows(mut self, rows: usize) -> Model {
        let mut random = Random(77);
        for name in ["model.embed_tokens.weight", "lm_head.weight"] {
            let (shape, values) = self.tensors.get_mut(name).unwrap();
            shape[0] = rows;
            values.resize_with(rows * WIDTH, || 0.2 * random.next());
        }
        self.config["vocab_size"] = json!(rows);
        self
    }

    /// Changes all weights of linear layers.
    pub(crate) fn with_linears(mut self, mut change: impl FnMut(&mut [f32])) -> Model {
        let linear = |name: &str| name.contains("_proj") || name.contains("lm_head");
        self.tensors.iter_mut().filter(|(name, _)| linear(name)).for_each(|(_, (_, values))| change(values));
        self
    }

    /// Writes the folder.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let control = |(number, content): (usize, &String)| {
            json!({"id": self.vocabulary.len() + number, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        };
        let vocabulary: serde_json::Map<_, _> =
            self.vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let digits = json!({"type": "Digits", "individual_digits": true});
        let splitting = match self.splits_digits {
            true => json!({"type": "Sequence", "pretokenizers": [digits, byte_level]}),
            false => byte_level.clone(),
        };
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": self.control.iter().enumerate().map(control).collect::<Vec<_>>(),
            "pre_tokenizer": splitting, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary,
                "merges": self.merges},
        });
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        fs::write(folder.join("tokenizer_config.json"), self.tokenizer_config.to_string()).unwrap();
        if let Some(template) = &self.template {
            fs::write(folder.join("chat_template.jinja"), template).unwrap();
        }
        fs::write(folder.join("model.safetensors"), self.weights()).unwrap();
        folder.to_owned()
    }

    fn weights(&self) -> Vec<u8> {
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (name, (shape, values)) in &self.tensors {
            let start = end;
            end += 4 * values.len();
            header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}));
        }
        let mut header = Value::Object(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.into_bytes());
        self.tensors.values().for_each(|(_, values)| bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())));
        bytes
    }
}

/// Numbers in [-1, 1).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
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

/// Conversations with numbers, blanks and words that merges are made of.
pub(crate) fn write_rows(path: &Path) {
    let names = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let rows = (0..10).map(|i| {
        json!({"prompt": format!("what is the name of 1{i}?"), "response": format!("the other {} is 1{i}", names[i])})
    });
    fs::write(path, rows.map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

/// A recipe that trains a student on a file for some steps.
pub(crate) fn recipe(student: &Path, data: &Path, output_dir: &Path, steps: u64) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.student.model = Some(student.to_owned());
    recipe.student.dtype = Dtype::F32;
    recipe.student.threads = 2;
    recipe.data.files = vec![data.to_owned()];
    recipe.data.test_size = 0.0;
    let train = &mut recipe.train;
    train.output_dir = Some(output_dir.to_owned());
    train.max_steps = Some(steps);
    train.max_length = MaxLength::Tokens(128);
    train.eval_strategy = Interval::No;
    train.save_strategy = Interval::No;
    train.load_best_model_at_end = false;
    train.lr_scheduler_type = Schedule::Constant;
    (train.warmup_ratio, train.warmup_steps) = (0.0, 0);
    (train.learning_rate, train.per_device_train_batch_size, train.gradient_accumulation_steps) = (0.02, 10, 1);
    recipe.lora.dropout = 0.0;
    recipe
}
