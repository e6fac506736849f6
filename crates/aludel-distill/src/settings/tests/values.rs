//! Tests of unknown names, wrong types and values out of range: what is refused, and with which message.

use super::*;

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
            "zzz = 1: there is no such setting; the sections are student, lora, train, distill, data, generate, trace, curate",
        ),
        (
            "[zzz]",
            "zzz: there is no such section; the sections are student, lora, train, distill, data, generate, trace, curate",
        ),
        ("train = 3", "train = 3: this is a section, not a setting; write [train] with settings below it"),
        (
            "[lora]\nzzz = 1",
            "lora.zzz = 1: there is no such setting; the settings of [lora] are r, alpha, dropout, target_modules, exclude_modules, layers_to_transform, layers_pattern, rank_pattern, alpha_pattern, bias, use_rslora, use_dora, init",
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
            "lora.r = \"eight\": this text cannot be taken here; give a whole number from 1 to 4,096",
        ),
        (
            "[lora]\nr = -8",
            "lora.r = -8: a negative whole number cannot be taken here; give a whole number from 1 to 4,096",
        ),
        (
            "[lora]\nr = 8.5",
            "lora.r = 8.5: a number with a fraction cannot be taken here; give a whole number from 1 to 4,096",
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
            "train.save_total_limit = 1.5: a number with a fraction cannot be taken here; give a whole number from 1 to 1,000,000",
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
        ("[lora]\nexclude_modules = \"all-linear\"", "lora.exclude_modules = \"all-linear\""),
        ("[lora]\nexclude_modules = [\"\"]", "lora.exclude_modules = [\"\"]"),
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
fn hidden_states_need_a_teacher_and_layers() {
    let hidden = "[distill]\nkind = \"hidden\"\n";
    for (lines, told) in [
        ("cache = \"folder\"", "a cache holds no hidden states; give the teacher itself"),
        ("hidden_layers = []", "no pair of layers is named"),
        ("hidden_layers = [[1, 2], [1, 3]]", "a layer of the student is named twice"),
        ("hidden_layers = [[0, 1]]", "layers are counted from 1"),
        ("hidden_layers = [[1, 2, 3]]", "give \"auto\" or a whole number from 1 to 1,024 or a list"),
        ("hidden_layers = \"all\"", "give \"auto\" or a whole number from 1 to 1,024 or a list"),
        ("hidden_loss = \"MSE\"", "write \"mse\""),
        ("balance = \"gradient\"", "nothing to balance it with"),
        ("weights = { hidden = 0 }", "distill.weights.hidden = 0.0"),
    ] {
        let problems = wrong(&format!("{hidden}{lines}"));
        assert!(problems.contains(told), "{lines}: {problems}");
    }
    let pairs = right(&format!("{hidden}hidden_layers = [[6, 12], [12, 24]]")).recipe;
    assert_eq!(pairs.distill.layer_pairs(12, 24).unwrap(), [[6, 12], [12, 24]]);
    assert_eq!(right(&pairs.to_toml().unwrap()).recipe, pairs, "a recipe is read as it was written");
    let every = right(&format!("{hidden}hidden_layers = 4")).recipe;
    assert_eq!(every.distill.layer_pairs(8, 16).unwrap(), [[4, 8], [8, 16]]);
    // Steps on the student's own answers have no cross-entropy, which would train the layers above the last pair.
    let below = "[distill]\nteacher = \"t\"\nkind = [\"ce\", \"hidden\"]\nhidden_layers = [[1, 1]]\n";
    assert!(right(below).recipe.distill.layer_pairs(2, 2).is_ok());
    assert!(right(&format!("{below}lambda = 0.5\n")).recipe.distill.layer_pairs(2, 2).is_err());
}
