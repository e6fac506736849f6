use super::*;
use std::path::PathBuf;

mod foreign;

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
fn names_that_do_not_exist_lead_to_one_that_does() {
    for (text, problems) in [
        (
            "[train]\nlearning_rat = 1e-4",
            "train.learning_rat = 0.0001: there is no such setting; did you mean train.learning_rate?",
        ),
        (
            "[lora]\nlearning_rate = 1e-4",
            "lora.learning_rate = 0.0001: there is no such setting; write learning_rate below [train]",
        ),
        ("[lora]\nmax_lenght = 9", "lora.max_lenght = 9: there is no such setting; did you mean train.max_length?"),
        ("[train]\nepoch = 3", "train.epoch = 3: there is no such setting; did you mean train.num_train_epochs?"),
        ("[trian]\nseed = 1", "trian: there is no such section; did you mean [train]?"),
        ("learning_rate = 1e-4", "learning_rate = 0.0001: it stands in no section; write learning_rate below [train]"),
        ("base_model = \"b\"", "base_model = \"b\": it stands in no section; write model below [student]"),
        (
            "zzz = 1",
            "zzz = 1: there is no such setting; the sections are student, lora, train, data, generate, trace, curate",
        ),
        (
            "[zzz]",
            "zzz: there is no such section; the sections are student, lora, train, data, generate, trace, curate",
        ),
        ("train = 3", "train = 3: this is a section, not a setting; write [train] with settings below it"),
        (
            "[lora]\nzzz = 1",
            "lora.zzz = 1: there is no such setting; the settings of [lora] are r, alpha, dropout, target_modules, layers_to_transform, layers_pattern, rank_pattern, alpha_pattern, bias, use_rslora, use_dora, init",
        ),
        (
            "[train]\nmax_seq_length = 9",
            "train.max_seq_length = 9: this name has no meaning here; write train.max_length; longer rows are left out, and only \
             data.long_rows = \"truncate\" cuts them",
        ),
        (
            "[lora]\nlora_bias = true",
            "lora.lora_bias = true: this name has no meaning here; leave it out: B has no biases of its own; write lora.bias = \"all\" or \
             \"lora_only\" to train those of the base",
        ),
        (
            "[train]\noptim = \"sgd\"",
            "train.optim = \"sgd\": this choice is not offered; write \"adamw\", the only optimiser offered",
        ),
    ] {
        check(text, problems);
    }
}

#[test]
fn values_of_another_type_are_named_with_what_would_be_right() {
    for (text, problems) in [
        (
            "[lora]\nr = \"eight\"",
            "lora.r = \"eight\": this text cannot be taken here; give a whole number of 0 or more",
        ),
        (
            "[lora]\nr = -8",
            "lora.r = -8: a negative whole number cannot be taken here; give a whole number of 0 or more",
        ),
        (
            "[lora]\nr = 8.5",
            "lora.r = 8.5: a number with a fraction cannot be taken here; give a whole number of 0 or more",
        ),
        ("[lora]\nalpha = true", "lora.alpha = true: true or false cannot be taken here; give a number"),
        (
            "[lora]\ntarget_modules = 3",
            "lora.target_modules = 3: a whole number cannot be taken here; give text or a list of texts",
        ),
        ("[train]\npacking = \"yes\"", "train.packing = \"yes\": this text cannot be taken here; give true or false"),
        (
            "[train]\neval_strategy = \"daily\"",
            "train.eval_strategy = \"daily\": this text cannot be taken here; give one of \"no\", \"epoch\", \"steps\"",
        ),
        (
            "[train]\nmax_steps = -2",
            "train.max_steps = -2: a negative whole number cannot be taken here; give a whole number",
        ),
        (
            "[train]\nsave_total_limit = 1.5",
            "train.save_total_limit = 1.5: a number with a fraction cannot be taken here; give a whole number of 0 or more",
        ),
        ("[data]\nfiles = 1", "data.files = 1: a whole number cannot be taken here; give text or a list of texts"),
        (
            "[data]\ncolumns = \"prompt\"",
            "data.columns = \"prompt\": this text cannot be taken here; give a table such as { name = \"text\" }",
        ),
        (
            "[train\nseed = 1",
            "the recipe: line 1 is not TOML: unclosed table, expected `]`; write `key = value` lines under [section] headings",
        ),
    ] {
        check(text, problems);
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (text, key) in [
        ("[student]\nthreads = 5000", "student.threads = 5000"),
        ("[student]\nadd_tokens = [\" \"]", "student.add_tokens = [\" \"]"),
        ("[student]\nadd_tokens = [\"<t>\", \"<t>\"]", "student.add_tokens = [\"<t>\", \"<t>\"]"),
        ("[student]\nmodel = \"\"", "student.model = \"\""),
        ("[lora]\nr = 0", "lora.r = 0"),
        ("[lora]\nr = 5000", "lora.r = 5000"),
        ("[lora]\nalpha = 0", "lora.alpha = 0.0"),
        ("[lora]\nalpha = inf", "lora.alpha = inf"),
        ("[lora]\nalpha = nan", "lora.alpha = NaN"),
        ("[lora]\ndropout = 1.5", "lora.dropout = 1.5"),
        ("[lora]\ndropout = 1.0", "lora.dropout = 1.0"),
        ("[lora]\ndropout = nan", "lora.dropout = NaN"),
        ("[lora]\ndropout = -0.1", "lora.dropout = -0.1"),
        ("[lora]\ntarget_modules = []", "lora.target_modules = []"),
        ("[lora]\ntarget_modules = [\"all-linear\", \"q_proj\"]", "lora.target_modules = [\"all-linear\", \"q_proj\"]"),
        ("[train]\nnum_train_epochs = 0", "train.num_train_epochs = 0.0"),
        ("[train]\nnum_train_epochs = nan", "train.num_train_epochs = NaN"),
        ("[train]\nmax_steps = 0", "train.max_steps = 0"),
        ("[train]\nper_device_train_batch_size = 0", "train.per_device_train_batch_size = 0"),
        ("[train]\ngradient_accumulation_steps = 0", "train.gradient_accumulation_steps = 0"),
        ("[train]\neval_steps = 0", "train.eval_steps = 0"),
        ("[train]\ntokens_per_pass = 0", "train.tokens_per_pass = 0"),
        ("[train]\nmax_length = 1", "train.max_length = 1"),
        ("[train]\nsave_total_limit = 0", "train.save_total_limit = 0"),
        ("[train]\nlearning_rate = -1e-4", "train.learning_rate = -0.0001"),
        ("[train]\nlearning_rate = nan", "train.learning_rate = NaN"),
        ("[train]\nmax_grad_norm = -1", "train.max_grad_norm = -1.0"),
        ("[train]\nwarmup_ratio = 3", "train.warmup_ratio = 3.0"),
        ("[train]\nweight_decay = -1", "train.weight_decay = -1.0"),
        ("[train]\nadam_beta2 = 1", "train.adam_beta2 = 1.0"),
        ("[train]\nadam_epsilon = 0", "train.adam_epsilon = 0.0"),
        ("[train]\nload_best_model_at_end = true\nsave_strategy = \"steps\"", "train.load_best_model_at_end = true"),
        (
            "[train]\nload_best_model_at_end = true\nsave_strategy = \"steps\"\neval_strategy = \"steps\"\nsave_steps = 75",
            "train.save_steps = 75",
        ),
        ("[data]\ntest_size = 1.5", "data.test_size = 1.5"),
        ("[data]\ntest_size = -0.1", "data.test_size = -0.1"),
        ("[data]\ntest_size = inf", "data.test_size = inf"),
        ("[data]\ntest_size = nan", "data.test_size = NaN"),
        ("[data]\ntest_size = 0", "train.eval_strategy = \"epoch\""),
        ("[data]\nfiles = [\"\"]", "data.files = [\"\"]"),
        ("[data]\ncolumns = { prompt = \"\" }", "data.columns.prompt = \"\""),
        ("[data]\ncolumns = { promt = \"question\" }", "data.columns.promt = \"question\""),
        ("[generate]\nmax_new_tokens = 0", "generate.max_new_tokens = 0"),
        ("[generate]\ntemperature = -1", "generate.temperature = -1.0"),
        ("[generate]\ntop_p = 0", "generate.top_p = 0.0"),
        ("[generate]\ntop_p = nan", "generate.top_p = NaN"),
        ("[generate]\nmin_p = 2", "generate.min_p = 2.0"),
        ("[generate]\nrepetition_penalty = 0", "generate.repetition_penalty = 0.0"),
        ("[generate]\nstop = \"\"", "generate.stop = [\"\"]"),
        ("[trace]\npreset = \"openai\"", "trace.preset = \"openai\""),
        ("[trace]\nsamples = 0", "trace.samples = 0"),
        ("[trace]\ntop_p = 0", "trace.top_p = 0.0"),
        ("[trace]\nconcurrency = 0", "trace.concurrency = 0"),
        ("[trace]\nmax_cost = -1", "trace.max_cost = Some(-1.0)"),
        ("[trace]\nrequest_timeout = 0", "trace.request_timeout = 0.0"),
        ("[trace]\ndialect = \"soap\"", "trace.dialect = \"soap\""),
        ("[trace]\napi_key_env = \"sk-1234\"", "trace.api_key_env = …"),
        ("[trace]\napi_key = \"sk-1234\"", "trace.api_key = …"),
        ("[curate]\nkeep = 0", "curate.keep = 0"),
        ("[curate]\nkeep = \"some\"", "curate.keep = \"some\""),
        ("[curate]\nverify = \"off\"\nkeep = \"shortest\"", "curate.keep = \"shortest\""),
        ("[curate]\nverify = \"label\"\nrequire_verified = true", "curate.require_verified = true"),
        ("[curate]\nverifier = \"math\"", "curate.verifier = \"kind = \\\"math\\\"\""),
        (
            "[curate]\nverifier = { kind = \"maths\", exact = 1 }",
            "curate.verifier = \"kind = \\\"maths\\\", exact = 1\"",
        ),
        (
            "[curate]\nverifier = { kind = \"regex\", pattern = \"(\" }",
            "curate.verifier = \"kind = \\\"regex\\\", pattern = \\\"(\\\"\"",
        ),
        ("[curate]\nlanguages = \"klingon\"", "curate.languages = [\"klingon\"]"),
        ("[curate]\nnear_duplicate_threshold = 0", "curate.near_duplicate_threshold = 0.0"),
        ("[curate]\ndecontaminate_overlap = 1.1", "curate.decontaminate_overlap = 1.1"),
        ("[curate]\nmin_length = 9\nmax_length = 8", "curate.max_length = 8"),
        ("[curate]\nmax_per_prompt = 0", "curate.max_per_prompt = 0"),
        ("[curate]\nmixture = { math = -1 }", "curate.mixture = {\"math\": -1.0}"),
        ("[curate]\ntest_size = 1.5", "curate.test_size = 1.5"),
        ("[curate]\nnear_duplicate = false", "curate.near_duplicate = false"),
    ] {
        let problems = wrong(text);
        assert!(problems.starts_with(&format!("{key}: ")), "{text} gave {problems}");
        assert_eq!(problems.lines().count(), 1, "{text} gave {problems}");
        let mends = ["; give ", "; fix ", "; name ", "; did you mean "];
        assert!(mends.iter().any(|mend| problems.contains(mend)), "{text} gave no mend: {problems}");
    }
}

#[test]
fn edges_of_the_ranges_are_accepted() {
    for text in [
        "[lora]\nr = 1\ndropout = 0",
        "[train]\nlearning_rate = 0\nmax_grad_norm = 0\nwarmup_ratio = 1",
        "[train]\nmax_steps = -1",
        "[data]\ntest_size = 40",
        "[train]\nnum_train_epochs = 0.5",
        "[train]\neval_strategy = \"no\"\n[data]\ntest_size = 0",
        "[generate]\ntemperature = 0\ntop_k = 0\nmin_p = 0",
    ] {
        right(text);
    }
    assert_eq!(right("[train]\nmax_steps = -1").recipe.train.max_steps, None);
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
