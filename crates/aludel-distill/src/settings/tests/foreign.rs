//! Names of other tools: which are read as ours, and what the others lead to.

use super::super::foreign::TOP_LEVEL_NAMES;
use super::*;

#[test]
fn no_foreign_name_shadows_one_of_ours_and_none_is_listed_twice() {
    let ours: Vec<String> = section_names().iter().flat_map(|section| setting_names(section)).collect();
    for (index, foreign) in FOREIGN_NAMES.iter().enumerate() {
        assert!(!ours.iter().any(|name| name == foreign.name), "{} is ours", foreign.name);
        assert!(
            FOREIGN_NAMES[..index].iter().all(|other| other.name != foreign.name),
            "{} is twice there",
            foreign.name
        );
        if let Verdict::ReadAs(ours) = foreign.verdict {
            let (section, key) = ours.split_once('.').unwrap();
            assert!(setting_names(section).iter().any(|name| name == key), "{ours} is not ours");
        }
    }
    for foreign in FOREIGN_VALUES {
        let (section, key) = foreign.key.split_once('.').unwrap();
        assert!(setting_names(section).iter().any(|name| name == key), "{} is not ours", foreign.key);
        if let Some(ours) = foreign.read_as {
            right(&format!("[{section}]\n{key} = \"{ours}\""));
        }
    }
}

/// As PEFT, LLaMA-Factory and Axolotl write them, in whatever section.
#[test]
fn names_of_other_tools_are_read_where_they_mean_the_same() {
    let parsed = Recipe::from_toml(
        "[student]\nmodel_name_or_path = \"s.gguf\"\n[lora]\nlora_alpha = 64\nlora_rank = 32\ntarget_modules = \"all\"\n\
         [data]\nval_size = 0.25\ndata_path = \"a.jsonl\"\n\
         [train]\nlr = 1e-3\nnum_epochs = 2\nmicro_batch_size = 3\nsequence_len = 512\nlora_dropout = 0.5\nsample_packing = true\n\
         optimizer = \"adamw_torch\"\nlr_scheduler = \"linear\"\n[curate]\noutput = \"curated\"\n",
    )
    .unwrap();
    let Recipe { student, lora, train, data, curate, .. } = parsed.recipe;
    assert_eq!((student.model, data.files), (Some("s.gguf".into()), vec!["a.jsonl".into()]));
    assert_eq!((lora.r, lora.alpha, lora.dropout, lora.target_modules), (32, 64.0, 0.5, TargetModules::AllLinear));
    assert_eq!((train.learning_rate, train.num_train_epochs, train.per_device_train_batch_size), (1e-3, 2.0, 3));
    assert_eq!(
        (train.max_length, train.packing, train.lr_scheduler_type),
        (MaxLength::Tokens(512), true, Schedule::Linear)
    );
    assert_eq!((data.test_size, curate.output_dir, train.output_dir), (0.25, Some("curated".into()), None));
    let told: Vec<String> = parsed.notices.iter().map(|notice| notice.describe(None)).collect();
    for wanted in ["train.lr = 0.001: read as train.learning_rate", "train.lora_dropout = 0.5: read as lora.dropout"] {
        assert!(told.iter().any(|line| line == wanted), "{wanted} is not in {told:#?}");
    }
    assert_eq!(told.len(), 16, "{told:#?}");
}

#[test]
fn names_of_other_tools_that_mean_something_else_name_ours() {
    for (recipe, told) in [
        (
            "[train]\nlr = 1e-3\nlearning_rate = 1e-4",
            "train.lr = 0.001: it is read as train.learning_rate, which is given, too; leave one of them out",
        ),
        (
            "[train]\nlr = 1e-3\n[lora]\nrank = 4\nlora_r = 8",
            "lora.lora_r = 8: it is read as lora.r, which is given, too; leave one of them out",
        ),
        ("lr = 1e-3", "lr = 0.001: it stands in no section; write learning_rate below [train]"),
        ("[train]\nlr = \"fast\"", "train.learning_rate = \"fast\": this text cannot be taken here; give a number"),
    ] {
        assert_eq!(Recipe::from_toml(recipe).unwrap_err().to_string(), told);
    }
    let said =
        Recipe::from_toml("[train]\ncutoff_len = 9\nbatch_size = 8\nadapter = \"qlora\"").unwrap_err().to_string();
    for wanted in ["write train.max_length; longer rows", "write train.per_device_train_batch_size", "always LoRA"] {
        assert!(said.contains(wanted), "{wanted} is not in {said}");
    }
}

/// As Axolotl and LLaMA-Factory have them, in YAML, JSON and TOML.
#[test]
fn a_recipe_of_another_tool_is_answered_once_with_all_its_keys() {
    let yaml = "# axolotl\nbase_model: org/name\n\ndatasets:\n  - path: org/data\n    type: alpaca\nlora_r: 16 # rank\n\"lr_scheduler\": cosine\n\
                cutoff_len: 2048\nwandb_project:\nzzz: 1\n";
    let toml = "base_model = \"org/name\"\ncutoff_len = 2048\nlora_r = 16\nlr_scheduler = \"cosine\"\nwandb_project = \"\"\nzzz = 1\n\
                [[datasets]]\npath = \"org/data\"\n";
    let with_a_section = format!("{yaml}data:\n  path: a\n");
    let json = r#"{"base_model": "org/name", "datasets": [], "lora_r": 16, "lr_scheduler": "cosine", "cutoff_len": 2048,
                   "wandb_project": null, "zzz": 1}"#;
    for recipe in [yaml, toml, json, &with_a_section] {
        let problems = Recipe::from_toml(recipe).unwrap_err().into_vec();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(problem.reason.starts_with("it looks like a recipe of Axolotl, LLaMA-Factory or TRL"), "{problem}");
        assert!(problem.mend.contains("aludel train --student"), "{problem}");
        for (key, here) in [
            ("base_model", "student.model"),
            ("datasets", "write data.files"),
            ("lora_r", "lora.r"),
            ("lr_scheduler", "train.lr_scheduler_type"),
            ("cutoff_len", "write train.max_length"),
            ("wandb_project", "leave it out: metrics go to"),
            ("zzz", "unknown here"),
        ] {
            let told = problem.reason.lines().find_map(|line| line.trim().strip_prefix(key));
            assert!(told.is_some_and(|told| told.trim().starts_with(here)), "{key}: {told:?}");
        }
        assert_eq!(problem.reason.lines().count(), if recipe == with_a_section { 9 } else { 8 });
    }
}

/// One or two keys at the top are a slip, and a section of ours shows that a recipe of ours is meant.
#[test]
fn a_slip_is_no_recipe_of_another_tool() {
    for (recipe, problems) in [
        ("lora_r = 4\nlr = 1e-4", 2),
        ("lora_r = 4\nlr = 1e-4\nepochs = 3\n[train]\nseed = 3", 3),
        ("lora_r: 4\nlr: 1e-4", 1),
    ] {
        let told = Recipe::from_toml(recipe).unwrap_err().into_vec();
        assert_eq!(told.len(), problems, "{told:?}");
        assert!(told.iter().all(|problem| !problem.reason.contains("Axolotl")), "{told:?}");
    }
}

#[test]
fn names_that_mean_something_else_without_a_section_are_ours_in_one() {
    for foreign in TOP_LEVEL_NAMES {
        assert!(section_names().iter().any(|section| setting_names(section).iter().any(|name| name == foreign.name)));
        let Verdict::ReadAs(ours) = foreign.verdict else { panic!("{foreign:?}") };
        let (section, key) = ours.split_once('.').unwrap();
        assert!(setting_names(section).iter().any(|name| name == key), "{ours} is not ours");
    }
}
