//! Pairs that do not fit, each in one thing.

use std::fs;
use std::path::Path;

use aludel_distill::settings::Quantize;
use aludel_distill::teacher::preflight::Check;
use serde_json::json;

use crate::model::{CHATML, Model, Random};
use crate::{Pair, shared, teacher};

#[test]
fn a_swapped_pair_of_ids() {
    let mut other = teacher();
    other.vocabulary.swap(64, 65);
    Pair::of(&other).assert_refused(Check::Ids, &["token 64 is \"@\" for the student and \"A\"", "2 of 268 ids"]);
}

#[test]
fn another_tokenizer_of_equal_size() {
    let mut other = teacher();
    other.vocabulary[..256].reverse();
    let pair = Pair::of(&other);
    pair.assert_refused(Check::Ids, &["token 0 is \"Ā\" for the student and \"ÿ\" for the teacher: 256 of 268 ids"]);
    let said = pair.run().unwrap_err().to_string();
    assert!(said.contains("it cannot teach the student") && said.contains("(aludel trace)"), "{said}");
}

#[test]
fn an_added_token_that_the_teacher_lacks() {
    let pair = Pair::of(&teacher()).with(|recipe| recipe.student.add_tokens = vec!["<think>".to_owned()]);
    let rows = pair.path("reasoned.jsonl");
    let row = json!({"prompt": "what is the name of 3?", "reasoning": "the third", "response": "the other three is 3"});
    fs::write(&rows, format!("{row}\n").repeat(4)).unwrap();
    let pair = pair.with(|recipe| recipe.data.files = vec![rows]);
    pair.assert_refused(
        Check::MissingTokens,
        &["the teacher has 268 tokens", "\"<think>\" (268)", "leave it out of student.add_tokens"],
    );
}

/// A token that only a row far down in the file has.
#[test]
fn a_missing_token_in_a_late_row() {
    let pair = Pair::of(&teacher()).with(|recipe| recipe.student.add_tokens = vec!["<think>".to_owned()]);
    let rows = pair.path("reasoned.jsonl");
    let plain = fs::read_to_string(shared().folder.path().join("rows.jsonl")).unwrap();
    let late =
        json!({"prompt": "what is the name of 3?", "reasoning": "the third", "response": "the other three is 3"});
    fs::write(&rows, format!("{}{late}\n", plain.repeat(7))).unwrap();
    let pair = pair.with(|recipe| recipe.data.files = vec![rows]);
    pair.assert_refused(Check::MissingTokens, &["\"<think>\" (268)"]);
}

#[test]
fn an_added_token_that_is_another_for_the_teacher() {
    let mut other = teacher().with_rows(269);
    other.control.push("<tool>".to_owned());
    let pair = Pair::of(&other).with(|recipe| recipe.student.add_tokens = vec!["<think>".to_owned()]);
    pair.assert_refused(
        Check::Ids,
        &["token 268 is \"<think>\" for the student and \"<tool>\"", "leave \"<think>\" out of student.add_tokens"],
    );
}

#[test]
fn other_merges() {
    let mut other = teacher();
    other.merges.retain(|merge| merge != "th e");
    let words = ["\"the\" is \"the\" for the student and \"th\" \"e\" for the teacher", "merges"];
    Pair::of(&other).assert_refused(Check::Tokenisation, &words);
}

#[test]
fn another_order_of_merges() {
    let mut other = teacher();
    other.merges.swap(0, 1);
    let words = ["\" the\" is \"Ġt\" \"h\" \"e\" for the student and \"Ġ\" \"the\" for the teacher"];
    Pair::of(&other).assert_refused(Check::Tokenisation, &words);
}

#[test]
fn another_splitting_into_words() {
    let merged = |mut model: Model| {
        model.merges.push("1 3".to_owned());
        model.vocabulary.push("13".to_owned());
        model.config["eos_token_id"] = json!(model.config["eos_token_id"].as_u64().unwrap() + 1);
        model.with_rows(269)
    };
    let (student, mut other) = (merged(shared().student.clone()), merged(teacher()));
    other.splits_digits = true;
    let words = ["\"13\" is \"13\" for the student and \"1\" \"3\" for the teacher"];
    Pair::new(&student, &other).assert_refused(Check::Tokenisation, &words);
}

/// Reasoning tags are one token for a teacher, and text for the student.
#[test]
fn a_token_that_only_the_teacher_has() {
    let mut other = teacher().with_rows(269);
    other.control.push("<think>".to_owned());
    let pair = Pair::of(&other);
    let rows = pair.path("reasoned.jsonl");
    let row = json!({"prompt": "what is the name of 3?", "reasoning": "the third", "response": "the other three is 3"});
    fs::write(&rows, format!("{row}\n").repeat(4)).unwrap();
    let pair = pair.with(|recipe| recipe.data.files = vec![rows]);
    pair.assert_refused(Check::Tokenisation, &["for the teacher", "student.add_tokens = [\"<think>\"]"]);
}

#[test]
fn another_end_of_turn() {
    let template = CHATML.replace("<|im_end|>", "<|stop|>");
    let other = teacher().with_template(Some(&template), "<|stop|>");
    let words = ["answers of the rows end with \"<|im_end|>\" (263), and the teacher's end with \"<|stop|>\" (267)"];
    Pair::of(&other).assert_refused(Check::EndOfTurn, &words);
}

#[test]
fn another_end_of_a_base_model() {
    let other = teacher().with_template(None, "<|stop|>");
    Pair::of(&other).assert_refused(Check::EndOfTurn, &["the teacher's end with \"<|stop|>\" (267)"]);
}

#[test]
fn a_beginning_that_the_rows_lack() {
    let mut other = teacher().with_template(Some(&format!("{{{{ bos_token }}}}{CHATML}")), "<|im_end|>");
    other.tokenizer_config["bos_token"] = json!("<|bos|>");
    Pair::of(&other).assert_refused(Check::Beginning, &["texts of the teacher begin with \"<|bos|>\" (264)"]);
}

#[test]
fn a_beginning_that_the_teacher_lacks() {
    let mut student = shared().student.clone().with_template(Some(&format!("<|bos|>{CHATML}")), "<|im_end|>");
    student.tokenizer_config["bos_token"] = json!("<|bos|>");
    let pair = Pair::new(&student, &teacher());
    pair.assert_refused(Check::Beginning, &["the rows begin with \"<|bos|>\" (264), and texts of the teacher do not"]);
}

#[test]
fn the_beginning_of_plain_text() {
    let mut other = teacher();
    other.tokenizer_config["bos_token"] = json!("<|bos|>");
    other.tokenizer_config["add_bos_token"] = json!(true);
    let pair = Pair::of(&other);
    let rows = pair.path("texts.jsonl");
    fs::write(&rows, format!("{}\n", json!({"text": "the other three is 13"})).repeat(4)).unwrap();
    let pair = pair.with(|recipe| recipe.data.files = vec![rows]);
    pair.assert_refused(Check::Beginning, &["texts of the teacher begin with \"<|bos|>\" (264)"]);
}

#[test]
fn other_control_tokens() {
    let template = "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|im_end|>' }}{% endfor %}";
    let other = teacher().with_template(Some(template), "<|im_end|>");
    let words =
        ["the student's chat template writes \"<|im_start|>\" (262)", "\"<|user|>\" (265), \"<|assistant|>\" (266)"];
    Pair::of(&other).assert_refused(Check::ControlTokens, &words);
}

/// One bit a weight: the lower or the upper end of its block.
#[test]
fn a_teacher_that_is_quantised_beyond_use() {
    let other = teacher().with_linears(|values| {
        for block in values.chunks_mut(32) {
            let ends = block.iter().fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
            let nearest = |value: f32| if value - ends.0 < ends.1 - value { ends.0 } else { ends.1 };
            block.iter_mut().for_each(|value| *value = nearest(*value));
        }
    });
    Pair::of(&other).assert_refused(Check::Predictions, &["it does not predict the rows", "quantised beyond use"]);
}

#[test]
fn a_teacher_that_learnt_nothing() {
    let pair = Pair::of(&Model::new(5)).with(|recipe| recipe.distill.teacher_quantize = Quantize::Int8);
    pair.assert_refused(Check::Predictions, &["it does not predict", "without distill.teacher_quantize"]);
}

/// Weights that are finite, and make numbers that are not.
#[test]
fn damaged_weights() {
    let other = teacher().with_linears(|values| values.iter_mut().for_each(|value| *value *= 1e37));
    let findings = Pair::of(&other).findings();
    assert_eq!(findings[0].check, Check::Predictions, "{findings:?}");
    assert!(findings[0].what.contains("tokens of them is NaN nats"), "{findings:?}");
}

/// An adapter of the right shapes that makes noise of the teacher.
#[test]
fn an_adapter_of_another_model() {
    let pair = Pair::of(&teacher());
    let folder = pair.path("adapter");
    let learnt = shared().folder.path().join("learnt/adapter");
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(&learnt).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().unwrap().starts_with("adapter_") {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    let file = folder.join("adapter_model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut random = Random(9);
    bytes[header..].chunks_exact_mut(4).for_each(|value| value.copy_from_slice(&random.next().to_le_bytes()));
    fs::write(&file, bytes).unwrap();
    let pair = pair.with(|recipe| recipe.distill.teacher_adapter = Some(folder));
    pair.assert_refused(
        Check::Predictions,
        &["it does not predict", "(distill.teacher_adapter) was trained on this teacher"],
    );
}

/// An adapter of other shapes does not load.
#[test]
fn an_adapter_of_other_shapes() {
    let pair = Pair::of(&teacher());
    let folder = pair.path("adapter");
    fs::create_dir(&folder).unwrap();
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aludel-model/tests/fixtures/tied/adapter_all_linear");
    for entry in fs::read_dir(other).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let pair = pair.with(|recipe| recipe.distill.teacher_adapter = Some(folder));
    let error = pair.run().unwrap_err().to_string();
    assert!(error.contains("adapter") && error.contains("shape"), "{error}");
}

/// All that is wrong is told at once, the gravest first.
#[test]
fn all_findings_are_told() {
    let template = "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|stop|>' }}{% endfor %}";
    let mut other = teacher().with_template(Some(template), "<|stop|>");
    other.tokenizer_config["bos_token"] = json!("<|bos|>");
    other.merges.swap(0, 1);
    let pair = Pair::of(&other);
    let checks: Vec<Check> = pair.findings().iter().map(|finding| finding.check).collect();
    let expected = [Check::Tokenisation, Check::EndOfTurn, Check::Beginning, Check::ControlTokens, Check::Template];
    assert_eq!(checks, expected);
    let said = pair.run().unwrap_err().to_string();
    assert!(said.ends_with("\nset distill.pair_check=warn to learn from it all the same"), "{said}");
}
