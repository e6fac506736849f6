use super::*;
use aludel_distill::settings::{Dtype, TargetModules};

/// A command that reads all settings.
const EVERYTHING: Scope =
    Scope::new("aludel all", "", &[&["student", "lora", "train", "distill", "data", "generate", "trace", "curate"]]);

fn args(recipe: Option<&Path>, assignments: &[&str]) -> RecipeArgs {
    RecipeArgs {
        recipe: recipe.map(Path::to_owned),
        assignments: assignments.iter().map(|&text| text.to_owned()).collect(),
    }
}

/// The problems that `--set` options bring about, one line each.
fn check(assignments: &[&str], problems: &str) {
    let error = resolve(&args(None, assignments), Flags::default(), &EVERYTHING).expect_err("refused");
    assert_eq!(error.to_string(), problems, "for {assignments:?}");
}

#[test]
fn a_set_option_overrides_a_flag_and_a_flag_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.toml");
    std::fs::write(&file, "[lora]\nr = 4\nalpha = 4\ndropout = 0.4\n[data]\ncolumns = { prompt = \"problem\" }\n")
        .unwrap();
    let (r, alpha) = ("5".to_owned(), "5".to_owned());
    let flags =
        || Flags::default().written("--lora-r", "lora.r", Some(&r)).written("--lora-alpha", "lora.alpha", Some(&alpha));
    let set = ["lora.r=6", "data.columns.response=solution", "lora.dropout="];
    let recipe = resolve(&args(Some(&file), &set), flags(), &EVERYTHING).unwrap();
    assert_eq!((recipe.lora.r, recipe.lora.alpha, recipe.lora.dropout), (6, 5.0, 0.0));
    let columns: Vec<(&str, &str)> = recipe.data.columns.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(columns, [("prompt", "problem"), ("response", "solution")]);
}

/// Whatever a setting is called where it is given, the later place overrides the earlier.
#[test]
fn names_of_other_tools_are_overridden_as_ours_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.toml");
    std::fs::write(&file, "[train]\nlr = 1e-3\nnum_epochs = 5\n[lora]\nlora_r = 4\n").unwrap();
    let rate = "1e-4".to_owned();
    let flags = || Flags::default().written("--learning-rate", "train.learning_rate", Some(&rate));
    let recipe = resolve(&args(Some(&file), &["train.lora_rank=6", "train.epochs=2"]), flags(), &EVERYTHING).unwrap();
    assert_eq!((recipe.train.learning_rate, recipe.lora.r, recipe.train.num_train_epochs), (1e-4, 6, 2.0));
    std::fs::write(&file, "[train]\n\nlr = -1\n").unwrap();
    let error = resolve(&args(Some(&file), &[]), Flags::default(), &EVERYTHING).unwrap_err().to_string();
    assert!(error.starts_with(&format!("train.learning_rate = -1.0 ({}:3): ", file.display())), "{error}");
    std::fs::write(&file, "[train]\nlr = 1e-3\nlearning_rate = 1e-4").unwrap();
    let error = resolve(&args(Some(&file), &[]), Flags::default(), &EVERYTHING).unwrap_err().to_string();
    assert!(error.starts_with(&format!("train.lr = 0.001 ({}:2): it is read as", file.display())), "{error}");
    check(&["lr=1"], "--set lr=1: the section is missing; write --set train.learning_rate=1");
}

#[test]
fn values_are_toml_or_bare_text() {
    let set = [
        "train.learning_rate=2e-4",
        "lora.target_modules=all-linear",
        "student.add_tokens=[\"<think>\", \"</think>\"]",
        "student.dtype=f32",
        "train.output_dir=runs/2024",
        "generate.stop=a=b",
        " lora.r = 16 ",
        "train.packing=true",
    ];
    let recipe = resolve(&args(None, &set), Flags::default(), &EVERYTHING).unwrap();
    assert_eq!(recipe.train.learning_rate, 2e-4);
    assert_eq!(recipe.lora.target_modules, TargetModules::AllLinear);
    assert_eq!(recipe.student.add_tokens, ["<think>", "</think>"]);
    assert_eq!(recipe.student.dtype, Dtype::F32);
    assert_eq!(recipe.train.output_dir, Some(std::path::absolute("runs/2024").unwrap()));
    assert_eq!(recipe.generate.stop, ["a=b"]);
    assert_eq!(recipe.lora.r, 16);
    assert!(recipe.train.packing);
}

#[test]
fn a_number_is_a_path_where_a_path_is_wanted() {
    let recipe = resolve(&args(None, &["train.output_dir=7"]), Flags::default(), &EVERYTHING).unwrap();
    assert_eq!(recipe.train.output_dir, Some(std::path::absolute("7").unwrap()));
}

#[test]
fn what_cannot_be_set_is_named_with_its_mend() {
    for (assignments, problems) in [
        (
            &["lora.r"][..],
            "--set lora.r: there is no \"=\" in it; write --set section.key=value, for example lora.r=16",
        ),
        (
            &["learning_rate=1e-4"],
            "--set learning_rate=1e-4: the section is missing; write --set train.learning_rate=1e-4",
        ),
        (
            &["cutoff_len=512"],
            "--set cutoff_len=512: this name has no meaning here; write train.max_length; longer rows are left out, and only \
             data.long_rows = \"truncate\" cuts them",
        ),
        (
            &["lora.r=eight"],
            "lora.r = \"eight\" (--set): this text cannot be taken here; give a whole number from 1 to 4,096",
        ),
        (
            &["lora.target_modules=[\"q_proj\""],
            "lora.target_modules = [\"q_proj\": it is not TOML: unclosed array, expected `]`; give text or a list of texts, written as in TOML",
        ),
        (
            &["lora.rr=8", "train.learning_rate=-1", "data"],
            "--set data: there is no \"=\" in it; write --set section.key=value, for example lora.r=16\n\
             lora.rr = 8 (--set): there is no such setting; the settings of [lora] are r, alpha, dropout, target_modules, exclude_modules, layers_to_transform, layers_pattern, rank_pattern, alpha_pattern, bias, use_rslora, use_dora, init\n\
             train.learning_rate = -1.0 (--set): a negative rate increases the loss, and a rate above 1 diverges; \
             give a number from 0 to 1, for example 2e-4",
        ),
    ] {
        check(assignments, problems);
    }
}

#[test]
fn a_problem_of_the_file_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.toml");
    std::fs::write(&file, "# my recipe\n[lora]\nalpha = 3\nr = 0\n\n[trian]\nseed = 3\n").unwrap();
    let error = resolve(&args(Some(&file), &[]), Flags::default(), &EVERYTHING).unwrap_err();
    let told = error.to_string().replace(&file.display().to_string(), "recipe.toml");
    assert_eq!(
        told,
        "trian (recipe.toml:6): there is no such section; did you mean [train]?\n\
         lora.r = 0 (recipe.toml:4): an adapter of rank 0 has nothing to train; give a whole number from 1 to 4,096, for example 16"
    );
}

#[test]
fn a_problem_quotes_a_long_setting_briefly() {
    let long = "k".repeat(100_000);
    for assignment in [long.clone(), format!("{long}={long}"), format!("lora.{long}={long}"), format!("lora.r=[{long}")]
    {
        let told = resolve(&args(None, &[&assignment]), Flags::default(), &EVERYTHING).unwrap_err().to_string();
        assert!(told.len() < 1_200 && told.contains('…') && told.contains("; "), "{} bytes: {told:.400}", told.len());
    }
}

/// Of each command, settings that others read: refused with the option of this command, its own setting, or those that read it.
#[test]
fn a_setting_that_the_command_does_not_read_is_refused() {
    let flags = || {
        let text = None;
        Flags::default()
            .written("--verifier", "curate.verifier", text)
            .instead("--max-new-tokens", "generate.max_new_tokens")
    };
    let told = |scope: &Scope, set: &[&str]| {
        resolve(&args(None, set), flags(), scope).map_or_else(|problems| problems.to_string(), |_| "taken".to_owned())
    };
    let of_eval = |key: &str, value: &str, mend: &str| {
        format!(
            "{key} = {value} (--set): `aludel eval --tasks` does not read this setting, and it would have no effect; {mend}"
        )
    };
    let new_tokens = of_eval("generate.max_new_tokens", "4", "give --max-new-tokens");
    assert_eq!(told(&scope::EVAL_TASKS, &["generate.max_new_tokens=4"]), new_tokens);
    let new_tokens = of_eval("trace.max_new_tokens", "4", "give --max-new-tokens");
    assert_eq!(told(&scope::EVAL_TASKS, &["trace.max_new_tokens=4"]), new_tokens);
    let verifier = of_eval("curate.verifier", "\"exact\"", "give --verifier");
    assert_eq!(told(&scope::EVAL_TASKS, &["curate.verifier=exact"]), verifier);
    let epochs = of_eval("train.num_train_epochs", "1", "leave it out; `aludel train`, `aludel inspect` read it");
    assert_eq!(told(&scope::EVAL_TASKS, &["train.epochs=1"]), epochs);
    let length = of_eval(
        "train.max_length",
        "9",
        "leave it out; `aludel train`, `aludel inspect`, `aludel cache`, `aludel eval --loss`, `aludel eval --kl-to` read it",
    );
    assert_eq!(told(&scope::EVAL_TASKS, &["train.max_length=9"]), length);
    let of_curate = "train.max_length = 9 (--set): `aludel curate` does not read this setting, and it would have no effect; give --set \
                     curate.max_length=VALUE";
    assert_eq!(told(&scope::CURATE, &["train.max_length=9"]), of_curate);
    // An empty value, which restores a default, would do nothing either.
    assert!(told(&scope::CHAT, &["lora.r="]).starts_with("lora.r (--set): `aludel chat` does not read this setting"));
    for (scope, set) in [
        (&scope::EVAL_TASKS, &["data.columns.prompt=problem", "student.dtype=f32"]),
        (&scope::EVAL_LOSS, &["train.max_length=9", "data.loss_on=answer"]),
        (&scope::CHAT, &["generate.top_k=3", "data.template_variables.enable_thinking=false"]),
    ] {
        assert_eq!(told(scope, set), "taken", "{set:?}");
    }
    // What does not exist is told as such, as for every command.
    assert!(told(&scope::CHAT, &["lora.rr=1"]).contains("lora.rr"));
    assert!(!told(&scope::CHAT, &["lora.rr=1"]).contains("no effect"));
}
