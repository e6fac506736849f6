//! Tests of recipes: defaults, round trips, problems and their messages. Names of other tools are in `foreign`, refused values in `values`.

use super::*;
use std::path::PathBuf;

mod foreign;
mod ranges;
mod values;

/// Reads a recipe and returns what is wrong with it, one line a problem.
fn wrong(text: &str) -> String {
    Recipe::from_toml(text).map_or_else(|problems| problems.to_string(), |parsed| panic!("accepted: {parsed:?}"))
}

fn right(text: &str) -> Parsed {
    Recipe::from_toml(text).unwrap_or_else(|problems| panic!("refused: {problems}"))
}

fn check(text: &str, problems: &str) {
    assert_eq!(wrong(text), problems, "for {text}");
}

#[test]
fn defaults_are_valid_and_survive_a_round_trip() {
    let recipe = Recipe::default();
    recipe.validate().unwrap();
    assert_eq!(right("").recipe, recipe);
    assert_eq!(right(&recipe.to_toml().unwrap()).recipe, recipe);
}

#[test]
fn a_full_recipe_survives_a_round_trip() {
    let parsed = right(
        r#"
        [student]
        model = "student.gguf"
        dtype = "f32"
        add_tokens = ["<think>", "</think>"]
        [lora]
        target_modules = "all-linear"
        use_rslora = true
        init = "gaussian"
        [train]
        output_dir = "out"
        max_steps = 30
        eval_strategy = "steps"
        save_strategy = "steps"
        save_steps = 100
        eval_steps = 50
        load_best_model_at_end = true
        save_total_limit = 2
        learning_rate = 2e-4
        lr_scheduler_type = "constant_with_warmup"
        [data]
        files = "one.jsonl"
        columns = { prompt = "problem" }
        loss_on = "all"
        [generate]
        stop = "END"
        seed = 7
        [trace]
        prompts = "prompts.jsonl"
        teacher = "http://localhost:8000"
        extra_body = { chat_template_kwargs = { enable_thinking = true } }
        headers = { x-team = "a" }
        max_cost = 2
        [curate]
        input = "traces.jsonl"
        verifier = { kind = "numeric", relative = 0.01 }
        keep = 2
        mixture = { math = 0.7, code = 0.3 }
        "#,
    );
    let recipe = parsed.recipe;
    assert_eq!(parsed.notices, []);
    assert_eq!(recipe.lora.target_modules, TargetModules::AllLinear);
    assert_eq!(recipe.data.files, [PathBuf::from("one.jsonl")]);
    assert_eq!(recipe.train.max_steps, Some(30));
    assert_eq!(recipe.generate.stop, ["END"]);
    assert_eq!(right(&recipe.to_toml().unwrap()).recipe, recipe);
}

#[test]
fn the_seed_s_settings_are_accepted_word_for_word() {
    let parsed = right(
        r#"
        [student]
        model = "microsoft/phi-3-mini-4k-instruct"
        trust_remote_code = true
        device_map = "auto"
        attn_implementation = "flash_attention_2"
        add_tokens = ["<think>", "</think>"]
        [lora]
        r = 8
        alpha = 16
        dropout = 0.2
        target_modules = ["q_proj", "k_proj", "v_proj", "o_proj"]
        bias = "none"
        task_type = "CAUSAL_LM"
        [train]
        output_dir = "./phi-3-deepseek-finetuned"
        num_train_epochs = 3
        per_device_train_batch_size = 2
        per_device_eval_batch_size = 2
        gradient_accumulation_steps = 4
        eval_strategy = "epoch"
        save_strategy = "epoch"
        logging_strategy = "steps"
        logging_steps = 50
        learning_rate = 2e-5
        fp16 = true
        optim = "paged_adamw_32bit"
        max_grad_norm = 0.3
        warmup_ratio = 0.03
        lr_scheduler_type = "cosine"
        [generate]
        max_new_tokens = 5000
        temperature = 0.7
        "#,
    );
    let noticed: Vec<&str> = parsed.notices.iter().map(|notice| notice.key.as_str()).collect();
    assert_eq!(
        noticed,
        [
            "student.trust_remote_code",
            "student.device_map",
            "student.attn_implementation",
            "lora.task_type",
            "train.fp16",
            "train.optim"
        ]
    );
    let (_, text) = BUILTIN_RECIPES.iter().find(|(name, _)| *name == "seed").unwrap();
    let mut written_in_full = right(text).recipe;
    written_in_full.student.model = Some("microsoft/phi-3-mini-4k-instruct".into());
    written_in_full.train.output_dir = Some("./phi-3-deepseek-finetuned".into());
    let mut seed = parsed.recipe;
    // The seed names no limit, and holds a tenth back in its code.
    (seed.train.max_length, seed.data.test_size) = (MaxLength::Tokens(2048), 0.1);
    assert_eq!(seed, written_in_full, "the seed's settings are the built-in recipe of that name");
}

/// The names of bitsandbytes, as transformers has them.
#[test]
fn four_bit_weights_are_asked_for_by_any_name() {
    for (text, expected) in [
        ("quantize = \"nf4\"", Quantize::Nf4),
        ("quantize = \"int8\"", Quantize::Int8),
        ("quantize = \"as-is\"", Quantize::AsIs),
        ("load_in_4bit = true", Quantize::Nf4),
        ("load_in_4bit = false", Quantize::None),
        ("load_in_8bit = true", Quantize::Int8),
        // what kind of 4-bit weights is no question where there are none
        ("bnb_4bit_quant_type = \"nf4\"", Quantize::None),
        ("load_in_4bit = false\nbnb_4bit_quant_type = \"nf4\"", Quantize::None),
        ("quantize = \"int8\"\nload_in_4bit = false", Quantize::Int8),
        (
            "load_in_4bit = true\nbnb_4bit_quant_type = \"nf4\"\nbnb_4bit_use_double_quant = true\nbnb_4bit_compute_dtype = \"bfloat16\"",
            Quantize::Nf4,
        ),
        ("quantize = \"nf4\"\nload_in_4bit = true", Quantize::Nf4),
    ] {
        assert_eq!(right(&format!("[student]\n{text}")).recipe.student.quantize, expected, "{text}");
    }
    for how in [Quantize::None, Quantize::Nf4, Quantize::Int8, Quantize::AsIs] {
        assert_eq!(right(&format!("[student]\nquantize = \"{}\"", how.name())).recipe.student.quantize, how);
    }
    for (text, part) in [
        ("load_in_8bit = \"yes\"", "give true or false"),
        ("load_in_8bit = true\nload_in_4bit = true", "it is read as student.quantize, which is given, too"),
        ("bnb_4bit_quant_type = \"fp4\"", "4-bit weights are in nf4"),
        ("quantize = \"int8\"\nload_in_4bit = true", "it is read as student.quantize, which is given, too"),
        ("quantize = \"gptq\"", "student.quantize"),
        ("quantize = \"nf4\"\ndtype = \"file\"", "student.dtype = \"file\" multiplies"),
    ] {
        let problems = wrong(&format!("[student]\n{text}"));
        assert!(problems.contains(part), "{text}: {problems}");
    }
}

#[test]
fn built_in_recipes_are_valid_and_say_nothing_that_is_not_understood() {
    for (name, text) in BUILTIN_RECIPES {
        assert_eq!(right(text).notices, [], "{name}");
    }
}

#[test]
fn all_problems_come_out_at_once() {
    let text = "[lora]\nr = 0\ndropout = 1.5\n[train]\nlearning_rate = \"fast\"\nepoch = 3\n[generate]\ntop_p = 2";
    let problems = Recipe::from_toml(text).unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["train.learning_rate", "train.epoch", "lora.r", "lora.dropout", "generate.top_p"]);
}

#[test]
fn data_settings_reach_reader_and_template() {
    let recipe = right(
        "[train]\nmax_length = 9\n[data]\nloss_on = \"answer\"\nlong_rows = \"truncate\"\nskip_bad_rows = true\n\
         allow_cut_reasoning = true\ncolumns = { prompt = \"problem\", response = \"solution\" }",
    )
    .recipe;
    let reading = recipe.data.read_options();
    let columns = reading.columns.unwrap();
    assert_eq!((columns.prompt.as_deref(), columns.response.as_deref()), (Some("problem"), Some("solution")));
    assert_eq!((columns.text, reading.skip_bad_rows), (None, true));
    assert_eq!(recipe.encode_options().loss_on, aludel_text::LossOn::Answer);
    let preflight = recipe.preflight_options();
    assert_eq!((preflight.max_length, preflight.allow_cut_reasoning), (Some(9), true));
    assert_eq!(Recipe::default().preflight_options().max_length, None);
    assert_eq!(Recipe::default().data.read_options().columns, None);
}

#[test]
fn what_templates_are_told_is_read_and_written_back() {
    let texts = ["template_date = \"2026-11-26\"", "template_date = 2026-11-26"];
    for text in texts {
        let recipe =
            right(&format!("[data]\n{text}\ntemplate_variables = {{ z = 1, a = [{{ y = true, b = \"x\" }}] }}")).recipe;
        let options = recipe.encode_options();
        assert_eq!(options.date, Some(aludel_text::Date { year: 2026, month: 11, day: 26 }), "{text}");
        assert_eq!(serde_json::to_string(&options.variables).unwrap(), r#"{"z":1,"a":[{"y":true,"b":"x"}]}"#);
        assert_eq!(Recipe::from_toml(&recipe.to_toml().unwrap()).unwrap().recipe, recipe, "{text}");
    }
    let wrong =
        Recipe::from_toml("[data]\ntemplate_date = 12\ntemplate_variables = { loop = 1 }").unwrap_err().to_string();
    assert!(wrong.contains("data.template_date = 12") && wrong.contains("template_variables.loop"), "{wrong}");
}

#[test]
fn a_missing_student_is_a_problem_of_training_only() {
    let recipe = Recipe::default();
    let problems = recipe.require_for_training().unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["student.model", "train.output_dir", "data.files"]);
}

#[test]
fn differences_name_the_key_and_both_values() {
    let old = Recipe::default();
    let mut new = old.clone();
    new.train.learning_rate = 1e-4;
    new.student.threads = 2;
    new.train.max_steps = Some(5);
    let found = differences(&old, &new).unwrap();
    let lines: Vec<String> = found.iter().map(Difference::to_string).collect();
    assert_eq!(
        lines,
        ["student.threads: 0 → 2", "train.learning_rate: 0.0002 → 0.0001", "train.max_steps: not given → 5"]
    );
    assert_eq!(found.iter().map(Difference::changes_training).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(differences(&old, &old).unwrap(), []);
}

#[test]
fn every_setting_is_described_in_the_schema() {
    let schema = Recipe::json_schema();
    for section in section_names() {
        for name in setting_names(&section) {
            let path = format!("/properties/{section}/properties/{name}");
            let setting = schema.as_value().pointer(&path).unwrap();
            assert!(setting["description"].as_str().is_some_and(|text| !text.is_empty()), "{path} has no description");
            assert!(expected(&section, &name).is_some(), "{path} has no type");
        }
    }
}

#[test]
fn origins_show_in_the_message() {
    let problems = Recipe::from_toml("[lora]\nr = 0").unwrap_err().with_origins(|key| {
        assert_eq!(key, "lora.r");
        Some("--set".to_owned())
    });
    assert_eq!(
        problems.to_string(),
        "lora.r = 0 (--set): an adapter of rank 0 has nothing to train; give a whole number from 1 to 4,096, for example 16"
    );
}

/// Names like them are looked for as long as anybody reads them, so that a recipe of many costs no more than its length.
#[test]
fn many_unknown_keys_are_told_briefly() {
    let keys: String = (0..60_000).map(|number| format!("alphb{number} = \"{}\"\n", "x".repeat(20))).collect();
    let problems = Recipe::from_toml(&format!("[lora]\nalphb = 3\n{keys}")).unwrap_err();
    assert_eq!(problems.iter().len(), 60_001);
    let mends: Vec<&str> = problems.iter().map(|problem| problem.mend.as_str()).collect();
    assert_eq!(mends[0], "did you mean lora.alpha?");
    assert!(mends[101..].iter().all(|mend| *mend == "`aludel schema` lists all settings"));
    let long = "k".repeat(1 << 19);
    let told = Recipe::from_toml(&format!("[lora]\n{long} = \"{long}\"\nr = \"{long}\"")).unwrap_err().to_string();
    assert!(told.len() < 1_500 && told.contains(&format!("lora.{}… = \"kk", "k".repeat(295))), "{told}");
}

#[test]
fn many_tokens_are_checked_in_one_pass() {
    let tokens: Vec<String> = (0..50_000).map(|number| format!("\"<{number}>\"")).collect();
    assert!(Recipe::from_toml(&format!("[student]\nadd_tokens = [{}]", tokens.join(", "))).is_ok());
    let told = Recipe::from_toml(&format!("[student]\nadd_tokens = [{}, \"<7>\"]", tokens.join(", ")))
        .unwrap_err()
        .to_string();
    assert!(told.len() < 500 && told.ends_with(": a token is named twice; give each token once"), "{told}");
}
