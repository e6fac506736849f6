use super::*;
use aludel_distill::settings::{Dtype, TargetModules};

fn args(recipe: Option<&Path>, assignments: &[&str]) -> RecipeArgs {
    RecipeArgs {
        recipe: recipe.map(Path::to_owned),
        assignments: assignments.iter().map(|&text| text.to_owned()).collect(),
    }
}

/// The problems that `--set` options bring about, one line each.
fn check(assignments: &[&str], problems: &str) {
    let error = resolve(&args(None, assignments), Flags::default()).expect_err("refused");
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
    let recipe = resolve(&args(Some(&file), &set), flags()).unwrap();
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
    let recipe = resolve(&args(Some(&file), &["train.lora_rank=6", "train.epochs=2"]), flags()).unwrap();
    assert_eq!((recipe.train.learning_rate, recipe.lora.r, recipe.train.num_train_epochs), (1e-4, 6, 2.0));
    std::fs::write(&file, "[train]\n\nlr = -1\n").unwrap();
    let error = resolve(&args(Some(&file), &[]), Flags::default()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("train.learning_rate = -1.0 ({}:3): ", file.display())), "{error}");
    std::fs::write(&file, "[train]\nlr = 1e-3\nlearning_rate = 1e-4").unwrap();
    let error = resolve(&args(Some(&file), &[]), Flags::default()).unwrap_err().to_string();
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
    let recipe = resolve(&args(None, &set), Flags::default()).unwrap();
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
    let recipe = resolve(&args(None, &["train.output_dir=7"]), Flags::default()).unwrap();
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
    let error = resolve(&args(Some(&file), &[]), Flags::default()).unwrap_err();
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
        let told = resolve(&args(None, &[&assignment]), Flags::default()).unwrap_err().to_string();
        assert!(told.len() < 1_200 && told.contains('…') && told.contains("; "), "{} bytes: {told:.400}", told.len());
    }
}
