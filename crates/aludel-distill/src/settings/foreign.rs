//! Names and values of settings in transformers, PEFT, TRL, LLaMA-Factory and Axolotl: the one list of them, for keys of a recipe and for
//! flags. A name with the meaning of one of our settings is read as that; the others have a sentence on what to do instead. Names that can
//! be ignored without a loss are accepted; the rest are refused, because ignoring them would train something else than requested.

use super::schema::{section_names, setting_names};
use aludel_settings::{Notice, Problem};
use toml::{Table, Value};

/// How a foreign name is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It means what this setting means, and is read as that.
    ReadAs(&'static str),
    /// It is passed over with a notice.
    Accepted,
    /// True is read as a value of a setting, and false is passed over.
    Switch(&'static str, &'static str),
    /// This value is passed over with a notice, and any other is a problem.
    Only(&'static str),
    /// It is a problem.
    Refused,
}

/// A setting of another tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignName {
    /// Its name there.
    pub name: &'static str,
    /// How it is handled.
    pub verdict: Verdict,
    /// What is done, or to be done, instead.
    pub instead: &'static str,
}

/// A value that one of our settings has in another tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignValue {
    /// The setting, `section.key`.
    pub key: &'static str,
    /// Its value there.
    pub value: &'static str,
    /// Our value that serves the same end; `None` refuses it.
    pub read_as: Option<&'static str>,
    /// What is done, or to be done, instead.
    pub instead: &'static str,
}

/// The entry for a name in any section.
pub fn foreign_name(name: &str) -> Option<&'static ForeignName> {
    FOREIGN_NAMES.iter().find(|foreign| foreign.name == name)
}

/// The entry for a name outside of sections: some of our names have another meaning in recipes without sections.
pub fn top_level_name(name: &str) -> Option<&'static ForeignName> {
    TOP_LEVEL_NAMES.iter().find(|foreign| foreign.name == name).or_else(|| foreign_name(name))
}

/// The names of other tools that are read as a setting, `section.key`.
pub fn foreign_names_of(setting: &str) -> impl Iterator<Item = &'static str> {
    let is_read = move |foreign: &&ForeignName| matches!(foreign.verdict, Verdict::ReadAs(ours) if ours == setting);
    FOREIGN_NAMES.iter().filter(is_read).map(|foreign| foreign.name)
}

/// Our name, `section.key`, of what stands in a recipe under another tool's; none for our own names and for what is not read as one of
/// our settings. Where the section has a setting of the same name, that is meant.
pub fn ours(section: &str, key: &str) -> Option<String> {
    let Verdict::ReadAs(ours) = foreign_name(key)?.verdict else { return None };
    let own = setting_names(section);
    let name = ours.split_once('.').map_or(ours, |(_, name)| name);
    match () {
        () if own.is_empty() || own.iter().any(|own| own == key) => None,
        () if own.iter().any(|own| own == name) => Some(format!("{section}.{name}")),
        () => Some(ours.to_owned()),
    }
}

/// A setting that was given under another tool's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Its name there, `section.key` as it was given.
    pub given: String,
    /// Our name, `section.key`.
    pub ours: String,
}

impl Renamed {
    /// What is to be said of it.
    pub fn notice(&self, value: &Value) -> Notice {
        Notice { key: self.given.clone(), value: value.to_string(), instead: format!("read as {}", self.ours) }
    }
}

/// Gives the settings of a recipe their names: those of other tools become ours. What was given under two names is a problem.
pub fn rename(table: &mut Table) -> (Vec<(Renamed, Notice)>, Vec<Problem>) {
    let (mut renamed, mut problems) = (Vec::new(), Vec::new());
    for section in section_names() {
        let Some(Value::Table(settings)) = table.get(&section) else { continue };
        let found: Vec<Renamed> = settings
            .keys()
            .filter_map(|key| {
                let is_on = settings.get(key).and_then(Value::as_bool) == Some(true);
                let ours = match foreign_name(key).map(|foreign| foreign.verdict) {
                    Some(Verdict::Switch(ours, _)) => is_on.then(|| ours.to_owned()),
                    _ => ours(&section, key),
                };
                Some(Renamed { given: format!("{section}.{key}"), ours: ours? })
            })
            .collect();
        for one in found {
            let Some((_, key)) = one.given.split_once('.') else { continue };
            let Some(Value::Table(settings)) = table.get_mut(&section) else { continue };
            let Some(value) = settings.remove(key) else { continue };
            let value = switched(key).map_or(value, |ours| Value::String(ours.to_owned()));
            let Some((target, name)) = one.ours.split_once('.') else { continue };
            match table.entry(target).or_insert_with(|| Value::Table(Table::new())) {
                Value::Table(place)
                    if place.get(name).is_none_or(|given| *given == value && switched(key).is_some()) =>
                {
                    place.insert(name.to_owned(), value.clone());
                    let notice = one.notice(&value);
                    renamed.push((one, notice));
                }
                _ => {
                    let reason = format!("it is read as {}, which is given, too", one.ours);
                    problems.push(Problem::new(&one.given, Some(value.to_string()), reason, "leave one of them out"));
                }
            }
        }
    }
    (renamed, problems)
}

/// The value that a switch stands for when it is on.
fn switched(name: &str) -> Option<&'static str> {
    match foreign_name(name)?.verdict {
        Verdict::Switch(_, value) => Some(value),
        Verdict::ReadAs(_) | Verdict::Accepted | Verdict::Only(_) | Verdict::Refused => None,
    }
}

/// The entry for a value of a setting.
pub(super) fn value(key: &str, value: &str) -> Option<&'static ForeignValue> {
    let is_same = |foreign: &&ForeignValue| foreign.key == key && foreign.value.eq_ignore_ascii_case(value.trim());
    FOREIGN_VALUES.iter().find(is_same)
}

const fn accepted(name: &'static str, instead: &'static str) -> ForeignName {
    ForeignName { name, verdict: Verdict::Accepted, instead }
}

const fn same(name: &'static str, ours: &'static str) -> ForeignName {
    ForeignName { name, verdict: Verdict::ReadAs(ours), instead: ours }
}

const fn switch(name: &'static str, ours: (&'static str, &'static str), instead: &'static str) -> ForeignName {
    ForeignName { name, verdict: Verdict::Switch(ours.0, ours.1), instead }
}

const fn refused(name: &'static str, instead: &'static str) -> ForeignName {
    ForeignName { name, verdict: Verdict::Refused, instead }
}

const fn read_as(key: &'static str, value: &'static str, ours: &'static str, instead: &'static str) -> ForeignValue {
    ForeignValue { key, value, read_as: Some(ours), instead }
}

const fn not_offered(key: &'static str, value: &'static str, instead: &'static str) -> ForeignValue {
    ForeignValue { key, value, read_as: None, instead }
}

const ADAMW_IS_SMALL: &str = "plain AdamW with f32 state is used: only the adapter has any, a few megabytes, so \
                              there is nothing to page or to squeeze into 8 bits";
const ONLY_LORA: &str = "leave it out: an adapter is always LoRA, on a frozen student of any precision";
const ONE_PROCESS: &str = "leave it out: one process trains, on all of student.threads";
const OWN_TEMPLATE: &str = "leave it out: rows are written with the student's own chat template";
const RECORDS: &str = "metrics go to metrics.jsonl in train.output_dir, and `aludel compare --run` draws them";
const ROWS_KEPT: &str = "tokenised rows lie in train.output_dir, and are found again by what they depend on";
const DATA_FILES: &str =
    "write data.files: paths of data files, or hf:owner/name for a data set of the Hugging Face Hub";
const LONG_ROWS: &str =
    "write train.max_length; longer rows are left out, and only data.long_rows = \"truncate\" cuts them";
const NOTHING_IS_SENT: &str =
    "write \"tensorboard\", whose event files other tools read too, or \"none\"; metrics.jsonl is always written";
const IN_4_BITS: &str = "write \"nf4\", which holds weights in 4 bits";
const IN_8_BITS: &str = "write \"int8\", which holds weights in 8 bits";
const OWN_BLOCKS: &str =
    "write \"as-is\", which keeps a GGUF file's own blocks, whichever they are; \"nf4\" and \"int8\" quantise here";
const IN_FULL: &str = "write \"none\"; student.dtype says the precision of weights that are not quantised";
const TILED: &str = "attention is always computed in tiles, exactly, without storing the square of the length";

/// Names of ours that are other settings in recipes without sections.
pub(super) const TOP_LEVEL_NAMES: &[ForeignName] = &[
    // Axolotl's word for the model that is trained; here it is what the adapter calls its base.
    same("base_model", "student.model"),
];

/// Settings of other tools, and how they are handled here.
pub const FOREIGN_NAMES: &[ForeignName] = &[
    // Precision and placement.
    accepted("fp16", "products are bf16 or f32 and sums always f32, as student.dtype says; no loss scaling is needed"),
    accepted("bf16", "student.dtype says the precision: \"auto\" is bf16 where the processor multiplies it natively"),
    accepted("tf32", "student.dtype says the precision; tf32 is a mode of GPUs"),
    accepted("device_map", "the whole student lies on one device, which student.device names"),
    accepted("low_cpu_mem_usage", "weights are mapped and packed one at a time in any case"),
    accepted("use_cpu", "student.device says where the work is done"),
    accepted("attn_implementation", TILED),
    accepted("flash_attention", TILED),
    accepted("flash_attn", TILED),
    accepted("xformers_attention", TILED),
    accepted("sdp_attention", TILED),
    accepted("pure_bf16", "student.dtype says the precision; the adapter and its optimiser are f32 in any case"),
    accepted(
        "gradient_checkpointing_kwargs",
        "train.gradient_checkpointing recomputes block by block; it has no variants",
    ),
    accepted("torch_compile", "the kernels are compiled already"),
    accepted("use_liger_kernel", "head and loss run in chunks on supervised rows in any case"),
    accepted("use_cache", "answers are always generated with a key-value cache, and training never needs one"),
    refused("torch_dtype", "write student.dtype: \"auto\", \"bf16\" or \"f32\""),
    switch("load_in_4bit", ("student.quantize", "nf4"), "student.quantize = \"nf4\" holds weights in 4 bits"),
    switch("load_in_8bit", ("student.quantize", "int8"), "student.quantize = \"int8\" holds weights in 8 bits"),
    ForeignName {
        name: "bnb_4bit_quant_type",
        verdict: Verdict::Only("nf4"),
        instead: "4-bit weights are in nf4, of the same size as fp4 and nearer to the weights",
    },
    accepted("bnb_4bit_use_double_quant", "the scales of nf4 are quantised once more in any case"),
    accepted("bnb_4bit_compute_dtype", "student.dtype says the precision of products, which decode the weights"),
    accepted("bnb_4bit_quant_storage", "codes are stored two in a byte"),
    refused("quantization_bit", "leave it out: student.quantize = \"nf4\" is that of 4 bits, and \"int8\" that of 8"),
    refused(
        "quantization_config",
        "leave it out: student.quantize = \"nf4\" is that of 4 bits, and \"int8\" that of 8",
    ),
    // Trust, places, reports.
    accepted("trust_remote_code", "code from a model folder is never run, so there is nothing to trust"),
    accepted("run_name", "a run is named by its folder, train.output_dir"),
    accepted("disable_tqdm", "the progress line shows itself on a terminal only"),
    accepted("save_safetensors", "everything is saved as safetensors"),
    refused("push_to_hub", "leave it out: nothing is uploaded; the output folder can be uploaded as it is"),
    refused(
        "overwrite_output_dir",
        "leave it out: a run is never overwritten; name a new train.output_dir, or use --resume",
    ),
    refused("resume_from_checkpoint", "leave it out and use --resume"),
    same("model_name_or_path", "student.model"),
    same("pretrained_model_name_or_path", "student.model"),
    same("model_path", "student.model"),
    same("output", "train.output_dir"),
    same("out_dir", "train.output_dir"),
    accepted("wandb_project", RECORDS),
    accepted("wandb_entity", RECORDS),
    accepted("wandb_name", RECORDS),
    accepted("wandb_watch", RECORDS),
    accepted("wandb_log_model", RECORDS),
    accepted("wandb_run_id", RECORDS),
    accepted("plot_loss", RECORDS),
    accepted("strict", "every unknown key of a recipe is refused in any case"),
    accepted("log_level", "ALUDEL_LOG says how much is logged"),
    accepted("use_peft", "an adapter is always trained"),
    accepted("do_eval", "train.eval_strategy says when rows that are held back are evaluated"),
    accepted("do_train", "`aludel train` trains in any case"),
    accepted("ddp_timeout", "one process trains"),
    accepted("local_rank", "one process trains"),
    refused("deepspeed", ONE_PROCESS),
    refused("fsdp", ONE_PROCESS),
    refused("hub_model_id", "leave it out: nothing is uploaded; the output folder can be uploaded as it is"),
    refused("save_only_model", "leave it out: a checkpoint always holds what a run needs to resume"),
    refused("model_revision", "leave it out: of a model of the Hub its main revision is taken, a folder as it is"),
    refused("model_type", "leave it out: config.json says what the model is"),
    refused("tokenizer_type", "leave it out: the student's own tokenizer is used"),
    refused("hub_strategy", "leave it out: nothing is uploaded; the output folder can be uploaded as it is"),
    refused("stage", "leave it out: a student is always trained on what its rows say (supervised fine-tuning)"),
    // Data.
    accepted("dataloader_num_workers", "rows are read by the training process, which never waits for them"),
    accepted("dataloader_pin_memory", "there is no second memory to copy to"),
    accepted("dataset_num_proc", "rows are tokenised on all of student.threads"),
    accepted("remove_unused_columns", "columns without a part to play are never read"),
    accepted("group_by_length", "rows run without padding, so that grouping them by length would save nothing"),
    accepted("padding_free", "rows always run without padding"),
    accepted("pad_to_multiple_of", "rows always run without padding"),
    accepted("padding_side", "rows always run without padding"),
    accepted("pad_token", "rows run without padding, and the end-of-turn token is always learnt"),
    accepted("preprocessing_num_workers", "rows are tokenised on all of student.threads"),
    accepted("dataset_processes", "rows are tokenised on all of student.threads"),
    accepted("dataset_prepared_path", ROWS_KEPT),
    accepted("overwrite_cache", ROWS_KEPT),
    accepted("pad_to_sequence_len", "rows always run without padding"),
    accepted("eval_sample_packing", "evaluations run without padding in any case"),
    same("sample_packing", "train.packing"),
    same("sequence_len", "train.max_length"),
    refused("max_seq_length", LONG_ROWS),
    refused("max_seq_len", LONG_ROWS),
    refused("model_max_length", LONG_ROWS),
    refused("cutoff_len", LONG_ROWS),
    same("val_size", "data.test_size"),
    same("val_set_size", "data.test_size"),
    same("train_file", "data.files"),
    same("data_path", "data.files"),
    same("dataset_path", "data.files"),
    refused("dataset", DATA_FILES),
    refused("datasets", DATA_FILES),
    refused("dataset_name", DATA_FILES),
    refused("dataset_dir", DATA_FILES),
    refused("eval_dataset", "leave it out and hold rows back with data.test_size"),
    refused("test_datasets", "leave it out and hold rows back with data.test_size"),
    refused("max_samples", "leave it out: a run takes all rows; make a shorter data file, or write train.max_steps"),
    refused("dataset_config", DATA_FILES),
    refused("dataset_mixer", DATA_FILES),
    refused("dataset_train_split", "write the split behind the name in data.files: hf:owner/name:split"),
    refused("dataset_test_split", "write data.eval_files: hf:owner/name:split"),
    refused("eos_token", "leave it out: rows end as the student's own chat template ends them"),
    refused("special_tokens", "leave it out: the student's special tokens stay; student.add_tokens adds further ones"),
    refused("tokens", "write student.add_tokens"),
    refused("template", OWN_TEMPLATE),
    refused("chat_template", OWN_TEMPLATE),
    refused("dataset_text_field", "write data.columns, for example { text = \"body\" }"),
    refused("completion_only_loss", "write data.loss_on: \"assistant\", \"answer\" or \"all\""),
    refused("assistant_only_loss", "write data.loss_on: \"assistant\", \"answer\" or \"all\""),
    refused("train_on_prompt", "write data.loss_on: \"assistant\", \"answer\" or \"all\""),
    refused("mask_history", "write data.loss_on: \"assistant\", \"answer\" or \"all\""),
    refused("train_on_inputs", "write data.loss_on: \"assistant\", \"answer\" or \"all\""),
    refused("data_seed", "write train.seed, which decides the order of rows too"),
    // Adapter.
    accepted("task_type", "students are always causal language models"),
    accepted("peft_type", "the adapter is always LoRA"),
    accepted("fan_in_fan_out", "a weight's orientation is known from the model"),
    accepted("lora_fan_in_fan_out", "a weight's orientation is known from the model"),
    same("rank", "lora.r"),
    same("lora_r", "lora.r"),
    same("lora_rank", "lora.r"),
    same("lora_alpha", "lora.alpha"),
    same("lora_dropout", "lora.dropout"),
    same("lora_target_modules", "lora.target_modules"),
    same("peft_use_rslora", "lora.use_rslora"),
    same("lora_model_dir", "train.init_adapter"),
    same("adapter_name_or_path", "train.init_adapter"),
    refused("lora_target", "write lora.target_modules: a list of names, or \"all-linear\" for all"),
    refused("lora_target_linear", "write lora.target_modules = \"all-linear\""),
    refused("adapter", ONLY_LORA),
    refused("finetuning_type", ONLY_LORA),
    same("peft_use_dora", "lora.use_dora"),
    same("lora_layers_to_transform", "lora.layers_to_transform"),
    same("peft_layers_to_transform", "lora.layers_to_transform"),
    refused(
        "lora_bias",
        "leave it out: B has no biases of its own; write lora.bias = \"all\" or \"lora_only\" to train those of the base",
    ),
    same("lora_exclude_modules", "lora.exclude_modules"),
    refused("loraplus_lr_ratio", "leave it out: LoRA+ is not offered"),
    refused("loraplus_lr_embedding", "leave it out: LoRA+ is not offered"),
    refused(
        "lora_modules_to_save",
        "leave it out: the rows of student.add_tokens are trained, and every other weight is frozen",
    ),
    refused("init_lora_weights", "write lora.init: \"kaiming\" or \"gaussian\""),
    refused(
        "modules_to_save",
        "leave it out: the rows of student.add_tokens are trained, and every other weight is frozen",
    ),
    // Optimiser and loop.
    accepted(
        "average_tokens_across_devices",
        "the loss is always the sum over a whole step divided by its supervised tokens",
    ),
    accepted("full_determinism", "a run is always repeatable to the bit on one kind of processor"),
    same("evaluation_strategy", "train.eval_strategy"),
    same("per_gpu_train_batch_size", "train.per_device_train_batch_size"),
    same("per_device_batch_size", "train.per_device_train_batch_size"),
    same("micro_batch_size", "train.per_device_train_batch_size"),
    same("eval_batch_size", "train.per_device_eval_batch_size"),
    same("num_epochs", "train.num_train_epochs"),
    same("epochs", "train.num_train_epochs"),
    same("lr", "train.learning_rate"),
    same("lr_scheduler", "train.lr_scheduler_type"),
    same("optimizer", "train.optim"),
    same("grad_clip", "train.max_grad_norm"),
    same("gradient_clipping", "train.max_grad_norm"),
    refused(
        "batch_size",
        "write train.per_device_train_batch_size for the rows of a micro-batch; a step takes that many times \
         train.gradient_accumulation_steps",
    ),
    refused("evals_per_epoch", "write train.eval_strategy = \"steps\" and train.eval_steps"),
    refused("saves_per_epoch", "write train.save_strategy = \"steps\" and train.save_steps"),
    refused(
        "early_stopping_patience",
        "write train.load_best_model_at_end = true: the best checkpoint is kept, and no run ends early",
    ),
    refused("loss_watchdog_threshold", "leave it out: a loss that is not finite ends a run, and no other does"),
    refused("loss_watchdog_patience", "leave it out: a loss that is not finite ends a run, and no other does"),
    refused("lr_scheduler_kwargs", "leave it out: no schedule has further arguments"),
    refused("optim_args", "write train.adam_beta1, train.adam_beta2 and train.adam_epsilon"),
    refused("neftune_noise_alpha", "leave it out: no noise is added to embeddings"),
    refused("label_smoothing_factor", "leave it out: labels are not smoothed"),
    refused("metric_for_best_model", "leave it out: the best checkpoint is the one with the lowest evaluation loss"),
    refused("greater_is_better", "leave it out: the best checkpoint is the one with the lowest evaluation loss"),
    // Generation.
    accepted("pad_token_id", "answers of different lengths run without padding"),
    accepted("eos_token_id", "each end-of-text and end-of-turn token that the model names ends an answer"),
    refused("do_sample", "leave it out: generate.temperature = 0 takes the likeliest token, any other value samples"),
    refused("num_beams", "leave it out: beams are not offered"),
    refused(
        "max_tokens",
        "write generate.max_new_tokens for the maximum number of tokens of one answer, trace.max_total_tokens for those of all traces in a store",
    ),
    refused("max_completion_tokens", "write generate.max_new_tokens"),
    refused("num_predict", "write generate.max_new_tokens"),
    refused("repeat_penalty", "write generate.repetition_penalty, which looks at all tokens before"),
    refused("stop_strings", "write generate.stop"),
];

/// Values that our settings have in other tools, and how they are handled here.
pub const FOREIGN_VALUES: &[ForeignValue] = &[
    read_as("lora.target_modules", "all", "all-linear", "every linear layer but the head gets an adapter"),
    read_as("train.optim", "paged_adamw_32bit", "adamw", ADAMW_IS_SMALL),
    read_as("train.optim", "paged_adamw", "adamw", ADAMW_IS_SMALL),
    read_as("train.optim", "paged_adamw_8bit", "adamw", ADAMW_IS_SMALL),
    read_as("train.optim", "adamw_8bit", "adamw", ADAMW_IS_SMALL),
    read_as("train.optim", "adamw_bnb_8bit", "adamw", ADAMW_IS_SMALL),
    read_as("train.optim", "adamw_torch", "adamw", "AdamW as PyTorch computes it, with f32 state"),
    read_as("train.optim", "adamw_torch_fused", "adamw", "AdamW as PyTorch computes it, with f32 state"),
    read_as("train.optim", "adamw_hf", "adamw", "AdamW as PyTorch computes it, with f32 state"),
    not_offered("train.optim", "sgd", "write \"adamw\", the only optimiser offered"),
    not_offered("train.optim", "adafactor", "write \"adamw\": its state is small, since only the adapter has any"),
    read_as("student.attention", "flash_attention_2", "tiled", TILED),
    read_as("student.attention", "sdpa", "tiled", TILED),
    read_as("student.attention", "eager", "tiled", TILED),
    not_offered("student.dtype", "float16", "write \"bf16\" or \"f32\": f16's narrow range would need loss scaling"),
    not_offered("student.dtype", "f16", "write \"bf16\" or \"f32\": f16's narrow range would need loss scaling"),
    not_offered("student.quantize", "fp4", "write \"nf4\": of the same size, and nearer to the weights"),
    not_offered("student.quantize", "4bit", IN_4_BITS),
    not_offered("student.quantize", "4-bit", IN_4_BITS),
    not_offered("student.quantize", "4", IN_4_BITS),
    not_offered("student.quantize", "int4", IN_4_BITS),
    not_offered("student.quantize", "q4", IN_4_BITS),
    not_offered("student.quantize", "bnb", IN_4_BITS),
    not_offered("student.quantize", "bnb-4bit", IN_4_BITS),
    not_offered("student.quantize", "bitsandbytes", IN_4_BITS),
    not_offered("student.quantize", "qlora", IN_4_BITS),
    not_offered("student.quantize", "gptq", IN_4_BITS),
    not_offered("student.quantize", "awq", IN_4_BITS),
    not_offered("student.quantize", "8bit", IN_8_BITS),
    not_offered("student.quantize", "8-bit", IN_8_BITS),
    not_offered("student.quantize", "8", IN_8_BITS),
    not_offered("student.quantize", "q8", IN_8_BITS),
    not_offered("student.quantize", "fp8", IN_8_BITS),
    not_offered("student.quantize", "bnb-8bit", IN_8_BITS),
    not_offered("student.quantize", "llm.int8", IN_8_BITS),
    not_offered("student.quantize", "gguf", OWN_BLOCKS),
    not_offered("student.quantize", "file", OWN_BLOCKS),
    not_offered("student.quantize", "q4_0", OWN_BLOCKS),
    not_offered("student.quantize", "q4_1", OWN_BLOCKS),
    not_offered("student.quantize", "q5_0", OWN_BLOCKS),
    not_offered("student.quantize", "q5_1", OWN_BLOCKS),
    not_offered("student.quantize", "q8_0", OWN_BLOCKS),
    not_offered("student.quantize", "q4_k", OWN_BLOCKS),
    not_offered("student.quantize", "q4_k_m", OWN_BLOCKS),
    not_offered("student.quantize", "q4_k_s", OWN_BLOCKS),
    not_offered("student.quantize", "q5_k", OWN_BLOCKS),
    not_offered("student.quantize", "q5_k_m", OWN_BLOCKS),
    not_offered("student.quantize", "q6_k", OWN_BLOCKS),
    not_offered("student.quantize", "bf16", IN_FULL),
    not_offered("student.quantize", "bfloat16", IN_FULL),
    not_offered("student.quantize", "fp16", IN_FULL),
    not_offered("student.quantize", "f16", IN_FULL),
    not_offered("student.quantize", "float16", IN_FULL),
    not_offered("student.quantize", "16bit", IN_FULL),
    not_offered("student.quantize", "f32", IN_FULL),
    not_offered("student.quantize", "fp32", IN_FULL),
    not_offered("student.quantize", "float32", IN_FULL),
    not_offered("student.quantize", "no", IN_FULL),
    not_offered("student.quantize", "off", IN_FULL),
    not_offered("student.device", "cuda", "write \"cpu\" or \"auto\": this version computes on the processor"),
    not_offered("student.device", "gpu", "write \"cpu\" or \"auto\": this version computes on the processor"),
    not_offered("student.device", "mps", "write \"cpu\" or \"auto\": this version computes on the processor"),
    not_offered(
        "train.save_strategy",
        "best",
        "write \"epoch\" or \"steps\", with train.load_best_model_at_end = true",
    ),
    not_offered("train.report_to", "all", NOTHING_IS_SENT),
    not_offered("train.report_to", "comet_ml", NOTHING_IS_SENT),
    not_offered("train.report_to", "mlflow", NOTHING_IS_SENT),
    not_offered("train.report_to", "swanlab", NOTHING_IS_SENT),
    not_offered("train.report_to", "trackio", NOTHING_IS_SENT),
    not_offered("train.report_to", "wandb", NOTHING_IS_SENT),
];
