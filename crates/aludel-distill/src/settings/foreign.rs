//! Names and values that users bring along from transformers, PEFT and TRL and that have no place here, each with a
//! sentence that says what is done instead. Accepted are those whose absence loses nothing; the rest are refused,
//! because silence about them would train something else than what was asked for.

/// What becomes of a foreign name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is passed over with a notice.
    Accepted,
    /// It is a problem.
    Refused,
}

/// A setting of another tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignName {
    /// Its name there.
    pub name: &'static str,
    /// What becomes of it.
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

/// The entry for a name, whatever section it stands in.
pub(super) fn name(name: &str) -> Option<&'static ForeignName> {
    FOREIGN_NAMES.iter().find(|foreign| foreign.name == name)
}

/// The entry for a value of a setting.
pub(super) fn value(key: &str, value: &str) -> Option<&'static ForeignValue> {
    FOREIGN_VALUES.iter().find(|foreign| foreign.key == key && foreign.value == value)
}

const fn accepted(name: &'static str, instead: &'static str) -> ForeignName {
    ForeignName { name, verdict: Verdict::Accepted, instead }
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
const NOTHING_IS_SENT: &str =
    "write \"tensorboard\", whose event files other tools read too, or \"none\"; metrics.jsonl is always written";
const TILED: &str = "attention is always computed in tiles, exactly, without storing the square of the length";

/// Settings of other tools, and what becomes of them here.
pub const FOREIGN_NAMES: &[ForeignName] = &[
    // Precision and placement.
    accepted("fp16", "products are bf16 or f32 and sums always f32, as student.dtype says; no loss scaling is needed"),
    accepted("bf16", "student.dtype says the precision: \"auto\" is bf16 where the processor multiplies it natively"),
    accepted("tf32", "student.dtype says the precision; tf32 is a mode of GPUs"),
    accepted("device_map", "the whole student lies on one device, which student.device names"),
    accepted("low_cpu_mem_usage", "weights are mapped and packed one at a time in any case"),
    accepted("use_cpu", "student.device says where the work is done"),
    accepted("attn_implementation", TILED),
    accepted(
        "gradient_checkpointing_kwargs",
        "train.gradient_checkpointing recomputes block by block; it has no variants",
    ),
    accepted("torch_compile", "the kernels are compiled already"),
    accepted("use_liger_kernel", "head and loss run in chunks on supervised rows in any case"),
    accepted("use_cache", "answers are always generated with a key-value cache, and training never needs one"),
    refused("torch_dtype", "write student.dtype: \"auto\", \"bf16\" or \"f32\""),
    refused("load_in_4bit", "leave it out and give a 4-bit GGUF file as student.model"),
    refused("load_in_8bit", "leave it out and give an 8-bit GGUF file as student.model"),
    refused("quantization_config", "leave it out and give a quantised GGUF file as student.model"),
    // Trust, places, reports.
    accepted("trust_remote_code", "code from a model folder is never run, so there is nothing to trust"),
    accepted("run_name", "a run goes by its folder, train.output_dir"),
    accepted("disable_tqdm", "the progress line shows itself on a terminal only"),
    accepted("save_safetensors", "everything is saved as safetensors"),
    refused("push_to_hub", "leave it out: nothing is uploaded; the output folder can be uploaded as it is"),
    refused(
        "overwrite_output_dir",
        "leave it out: a run is never overwritten; name a new train.output_dir, or use --resume",
    ),
    refused("resume_from_checkpoint", "leave it out and use --resume"),
    refused("model_name_or_path", "write student.model"),
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
    refused("max_seq_length", "write train.max_length"),
    refused("dataset_text_field", "write data.columns, for example { text = \"body\" }"),
    refused("completion_only_loss", "write data.loss_on: \"assistant\", \"answer\" or \"all\""),
    refused("assistant_only_loss", "write data.loss_on: \"assistant\", \"answer\" or \"all\""),
    refused("train_on_inputs", "write data.loss_on: \"assistant\", \"answer\" or \"all\""),
    refused("data_seed", "write train.seed, which decides the order of rows too"),
    // Adapter.
    accepted("task_type", "students are always causal language models"),
    accepted("peft_type", "the adapter is always LoRA"),
    accepted("fan_in_fan_out", "a weight's orientation is known from the model"),
    refused("rank", "write lora.r"),
    refused("lora_r", "write lora.r"),
    refused("lora_alpha", "write lora.alpha"),
    refused("lora_dropout", "write lora.dropout"),
    refused("init_lora_weights", "write lora.init: \"kaiming\" or \"gaussian\""),
    refused("use_dora", "leave it out: DoRA is not offered"),
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
    refused("evaluation_strategy", "write train.eval_strategy"),
    refused("per_gpu_train_batch_size", "write train.per_device_train_batch_size"),
    refused("batch_size", "write train.per_device_train_batch_size"),
    refused("epochs", "write train.num_train_epochs"),
    refused("lr", "write train.learning_rate"),
    refused("lr_scheduler", "write train.lr_scheduler_type"),
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
    refused("max_tokens", "write generate.max_new_tokens"),
    refused("stop_strings", "write generate.stop"),
];

/// Values that our settings have in other tools, and what becomes of them here.
pub const FOREIGN_VALUES: &[ForeignValue] = &[
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
    not_offered("student.device", "cuda", "write \"cpu\" or \"auto\": this version computes on the processor"),
    not_offered("student.device", "gpu", "write \"cpu\" or \"auto\": this version computes on the processor"),
    not_offered("student.device", "mps", "write \"cpu\" or \"auto\": this version computes on the processor"),
    not_offered("lora.bias", "all", "write \"none\": the base, its biases too, is frozen"),
    not_offered("lora.bias", "lora_only", "write \"none\": the base, its biases too, is frozen"),
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
