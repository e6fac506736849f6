//! Which numbers and choices a setting takes, for every setting of the schema.

use super::*;

/// Each whole number has its range in the schema, from which the words of a refusal come; and its own check agrees with that.
#[test]
fn every_whole_number_is_taken_within_its_range_and_refused_outside_of_it_with_the_range() {
    let schema = Recipe::json_schema();
    let refused = |key: &str, value: &str| {
        let (section, name) = key.split_once('.').unwrap();
        let told = match Recipe::from_toml(&format!("[{section}]\n{name} = {value}")) {
            Ok(_) => return None,
            Err(problems) => problems.to_string(),
        };
        told.lines().find(|line| line.starts_with(&format!("{key} = "))).map(str::to_owned)
    };
    let mut seen = 0;
    for section in section_names() {
        for name in setting_names(&section) {
            let pointer = format!("/properties/{section}/properties/{name}");
            let own = schema.pointer(&pointer).unwrap();
            let all = std::iter::once(own).chain(own["anyOf"].as_array().into_iter().flatten());
            let is_whole = |schema: &&serde_json::Value| schema["type"].to_string().contains("\"integer\"");
            let Some(number) = all.into_iter().find(is_whole) else { continue };
            let key = format!("{section}.{name}");
            let (least, most) = (number["minimum"].as_i64(), number["maximum"].as_i64());
            if key == "train.max_steps" {
                continue; // it has -1 for no limit
            }
            let least = least.unwrap_or_else(|| panic!("{key} has no least value"));
            assert_eq!(refused(&key, &least.to_string()), None, "{key}");
            let range = match most {
                Some(most) => {
                    assert_eq!(refused(&key, &most.to_string()), None, "{key}");
                    let (least, most) = (aludel_files::grouped(least as u64), aludel_files::grouped(most as u64));
                    format!("from {least} to {most}")
                }
                None => format!("of {} or more", aludel_files::grouped(least as u64)),
            };
            let mut wrong =
                vec!["-1".to_owned(), "1.5".to_owned(), "nan".to_owned(), "\"99999999999999999999\"".to_owned()];
            wrong.extend((least > 0).then(|| (least - 1).to_string()));
            wrong.extend(most.map(|most| (most + 1).to_string()));
            for value in wrong {
                let told = refused(&key, &value).unwrap_or_else(|| panic!("{key} = {value} is taken"));
                assert!(told.contains(&range), "{told} lacks {range:?}");
            }
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
    for key in ["train.num_train_epochs", "train.max_steps"] {
        for value in ["1e30", "9223372036854775807", "0", "nan"] {
            assert!(refused(key, value).is_some(), "{key} = {value}");
        }
    }
}

#[test]
fn a_choice_that_is_nearly_right_gets_the_right_one() {
    for (value, mend) in [
        ("NF4", "write \"nf4\""),
        ("nf-4", "write \"nf4\""),
        ("as_is", "write \"as-is\""),
        ("INT8", "write \"int8\""),
        ("4bit", "write \"nf4\", which holds weights in 4 bits"),
        ("Int4", "write \"nf4\", which holds weights in 4 bits"),
        ("8bit", "write \"int8\", which holds weights in 8 bits"),
        ("Q4_K_M", "write \"as-is\", which keeps a GGUF file's own blocks"),
        ("bf16", "write \"none\"; student.dtype says the precision"),
    ] {
        let told = wrong(&format!("[student]\nquantize = \"{value}\""));
        assert!(told.contains(mend), "{value}: {told}");
    }
    assert!(wrong("[train]\nlearning_rate = \"0,0002\"").contains("write 0.0002, with a point"));
    assert!(wrong("[train]\nlr_scheduler_type = \"Cosin\"").contains("write \"cosine\""));
    assert!(wrong("[student]\nquantize = \"something\"").contains("give one of \"none\", \"nf4\", "));
}
