//! Pairs of a teacher and a student that do not fit, made on purpose: each is found and named before the first step, and pairs that fit
//! pass.
#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "common/pairs.rs"]
mod pairs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use aludel_data::token_cache::TokenRow;
use aludel_distill::learner::context;
use aludel_distill::prepare::Preparer;
use aludel_distill::settings::{DistillKind, PairCheck, Quantize, Recipe};
use aludel_distill::supervision::SupervisedBatch;
use aludel_distill::teacher::preflight::{Check, Finding, Predictions, check_texts, sampled_rows};
use aludel_distill::teacher::{Loading, OnlineTeacher, Teacher};
use aludel_distill::train::{Event, train};
use aludel_distill::{Error, merge};
use aludel_formats::Dtype;
use aludel_kernels::loss::divergence::DivergenceArgs;
use aludel_kernels::{Context, Mat};
use aludel_model::student::Student;
use pairs::{CHATML, Model, Random, recipe, write_rows};
use serde_json::json;
use tempfile::TempDir;

/// Files that all tests share: rows, a student that knows nothing, and a teacher that has learnt the rows.
struct Shared {
    folder: TempDir,
    student: Model,
    teacher: Model,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write_rows(&at("rows.jsonl"));
        let student = Model::new(1);
        student.write(&at("student"));
        let base = Model::new(2).write(&at("base"));
        let mut learnt = recipe(&base, &at("rows.jsonl"), &at("learnt"), 60);
        learnt.lora.r = 16;
        let summary = train(&learnt, false, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert!(summary.final_train_loss.unwrap() < 2.0, "{:?}", summary.final_train_loss);
        let merged = at("merged");
        let opened = Student::open(&base).unwrap();
        merge::merge(&opened, &at("learnt/adapter"), &merged, Dtype::F32, &mut |_, _| {}).unwrap();
        let teacher = student.with_weights_of(&merged);
        drop(opened);
        Shared { folder, student, teacher }
    })
}

/// A pair in a folder of its own.
struct Pair {
    folder: TempDir,
    recipe: Recipe,
}

impl Pair {
    fn new(student: &Model, teacher: &Model) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let student = student.write(&folder.path().join("student"));
        let teacher = teacher.write(&folder.path().join("teacher"));
        let rows = shared().folder.path().join("rows.jsonl");
        let mut recipe = recipe(&student, &rows, &folder.path().join("run"), 1);
        recipe.distill.kind = vec![DistillKind::Logits];
        recipe.distill.teacher = Some(teacher);
        Pair { folder, recipe }
    }

    fn of(teacher: &Model) -> Pair {
        Pair::new(&shared().student, teacher)
    }

    fn with(mut self, change: impl FnOnce(&mut Recipe)) -> Pair {
        change(&mut self.recipe);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a run says of the teacher, or how it ends.
    fn run(&self) -> Result<Vec<String>, Error> {
        let mut notes = Vec::new();
        let mut began = false;
        let ended = train(&self.recipe, false, &AtomicBool::new(false), &mut |event| match event {
            Event::Started(started) => notes = started.pair_notes.clone(),
            Event::Pass { .. } => began = true,
            _ => {}
        });
        assert_eq!(began, ended.is_ok(), "a pair that does not fit is found before the first step");
        if ended.is_err() {
            assert!(!self.path("run/metrics.jsonl").exists() && !self.path("run/rows").exists());
        }
        ended.map(|_| notes)
    }

    /// What is found of a pair that does not fit.
    fn findings(&self) -> Vec<Finding> {
        match self.run() {
            Err(Error::Pair { mismatch, .. }) => mismatch.findings().to_vec(),
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("it was trained"),
        }
    }

    /// That a pair is refused for this, above all, in these words.
    fn assert_refused(&self, check: Check, words: &[&str]) {
        let findings = self.findings();
        let [first, ..] = findings.as_slice() else { panic!("no finding") };
        assert_eq!(first.check, check, "{findings:#?}");
        for word in words {
            assert!(first.to_string().contains(word), "{first}\nlacks {word}");
        }
        let warned = Pair { folder: tempfile::tempdir().unwrap(), recipe: self.recipe.clone() };
        let output_dir = Some(warned.path("run"));
        let warned = warned.with(|recipe| {
            recipe.distill.pair_check = PairCheck::Warn;
            recipe.train.output_dir = output_dir;
        });
        match check {
            Check::Ids | Check::MissingTokens => assert!(matches!(warned.run(), Err(Error::Pair { .. }))),
            _ => assert!(warned.run().unwrap().contains(&first.to_string())),
        }
    }
}

fn teacher() -> Model {
    shared().teacher.clone()
}

// Mismatched pairs.

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

// Predictions that are shifted: a teacher whose answers belong to other places.

struct Shifted {
    teacher: OnlineTeacher,
    /// Which token of the row is predicted at the place of each: 0 the one after it, as it should be.
    by: i32,
}

impl Teacher for Shifted {
    fn begin(&mut self, ctx: &mut Context, batch: &SupervisedBatch) -> aludel_distill::Result<()> {
        self.teacher.begin(ctx, batch)
    }

    fn divergence(
        &self,
        _: &mut Context,
        _: Mat,
        _: std::ops::Range<usize>,
        _: Mat,
        _: DivergenceArgs,
        _: Mat,
        _: bool,
    ) {
        unreachable!("nothing is trained")
    }

    /// What the teacher says at the neighbour's place.
    fn target_losses(
        &mut self,
        ctx: &mut Context,
        batch: &SupervisedBatch,
        targets: &[&[u32]],
    ) -> aludel_distill::Result<Option<Vec<Vec<f32>>>> {
        let mut moved = SupervisedBatch::default();
        moved.pass = batch.pass.clone();
        let ends: Vec<u32> = batch.pass.rows.iter().map(|row| row.end as u32 - 1).collect();
        for (&place, &target) in batch.chosen.iter().zip(&batch.targets) {
            let end = ends.iter().copied().find(|&end| place <= end).unwrap();
            moved.chosen.push(place.saturating_add_signed(self.by).min(end));
            moved.targets.push(target);
            moved.weights.push(1.0);
        }
        self.teacher.target_losses(ctx, &moved, targets)
    }

    fn vocab(&self) -> usize {
        self.teacher.vocab()
    }

    fn weight_bytes(&self) -> usize {
        0
    }

    fn max_length(&self) -> Option<usize> {
        None
    }

    fn reach(&mut self, _: &mut Context, _: usize) {}
}

/// What the right teacher of a recipe predicts, as if shifted.
fn predictions(recipe: &Recipe, by: i32) -> (Predictions, usize) {
    let student = Student::open(recipe.student_model().unwrap()).unwrap();
    let mut ctx = context(&recipe.student).unwrap();
    let loading = Loading::Read(&|| std::ops::ControlFlow::Continue(()));
    let length = recipe.train.max_length.limit();
    let teacher = OnlineTeacher::load(&mut ctx, &student, &recipe.distill, length, loading).unwrap();
    let rows = rows(&student, recipe);
    let sample = sampled_rows(rows.len(), |row| Ok(rows[row].clone())).unwrap();
    let mut shifted = Shifted { teacher, by };
    let found = Predictions::ask(&mut ctx, &mut shifted, &sample, 512, &|| Ok(())).unwrap().unwrap();
    (found, shifted.vocab())
}

fn rows(student: &Student, recipe: &Recipe) -> Vec<TokenRow> {
    let preparer = Preparer::new(student, recipe);
    let records = aludel_data::dataset::open(&recipe.data.files, &recipe.data.read_options()).unwrap();
    let rows = records.map(|record| preparer.prepare(&record.unwrap()).unwrap().remove(0).encoded.unwrap());
    let info = aludel_data::token_cache::RowInfo {
        tokens: 0,
        supervised: 0,
        example: 0,
        prompt_key: aludel_data::dataset::PromptKey(0),
        file_index: 0,
        line: 0,
    };
    rows.map(|row| TokenRow { ids: row.ids, weights: row.weights, info }).collect()
}

#[test]
fn predictions_that_are_shifted_by_one() {
    let pair = Pair::of(&teacher());
    let (right, vocab) = predictions(&pair.recipe, 0);
    assert_eq!(right.judge(vocab, &pair.recipe.distill), None, "{right:?}");
    for (by, which) in [(-1, "before"), (1, "after")] {
        let (found, vocab) = predictions(&pair.recipe, by);
        let finding = found.judge(vocab, &pair.recipe.distill).unwrap();
        assert_eq!(finding.check, Check::Shift, "{finding}");
        assert!(finding.what.contains(&format!("they fit the token {which} the one")), "{finding}");
    }
}

// Pairs that fit.

#[test]
fn the_same_tokenizer_and_template() {
    assert_eq!(Pair::of(&teacher()).run().unwrap(), [""; 0]);
}

/// Embeddings are padded to sizes that suit a machine, of teacher and student differently.
#[test]
fn padded_vocabularies() {
    for (own, theirs) in [(268, 320), (320, 268), (288, 320)] {
        let pair = Pair::new(&shared().student.clone().with_rows(own), &teacher().with_rows(theirs));
        assert_eq!(pair.run().unwrap(), [""; 0], "{own} and {theirs}");
    }
}

#[test]
fn a_teacher_with_further_tokens() {
    let mut other = teacher().with_rows(270);
    other.control.extend(["<tool>".to_owned(), "</tool>".to_owned()]);
    assert_eq!(Pair::of(&other).run().unwrap(), [""; 0]);
}

/// A token that no row has does no harm.
#[test]
fn a_student_with_a_further_token_that_no_row_has() {
    let pair = Pair::of(&teacher()).with(|recipe| recipe.student.add_tokens = vec!["<think>".to_owned()]);
    assert_eq!(pair.run().unwrap(), [""; 0]);
}

#[test]
fn a_template_of_other_words_is_told() {
    let template = CHATML.replace("'<|im_start|>'", "'<|im_start|>' + ('the ' if loop.first else '')");
    let notes = Pair::of(&teacher().with_template(Some(&template), "<|im_end|>")).run().unwrap();
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.starts_with("after \"<|im_start|>\" the student's chat template writes \"user\\nwhat is"), "{note}");
    assert!(note.contains("and the teacher's \"the user\\nwhat is"), "{note}");
}

#[test]
fn a_base_model_with_the_same_end_is_told() {
    let notes = Pair::of(&teacher().with_template(None, "<|im_end|>")).run().unwrap();
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.starts_with("the teacher has no chat template"), "{note}");
}

#[test]
fn a_teacher_in_eight_bits() {
    let pair = Pair::of(&teacher()).with(|recipe| recipe.distill.teacher_quantize = Quantize::Int8);
    assert_eq!(pair.run().unwrap(), [""; 0]);
}

/// The adapter belongs to the base that it was trained on.
#[test]
fn a_teacher_with_its_adapter() {
    let pair = Pair::of(&Model::new(2)).with(|recipe| {
        recipe.distill.teacher_adapter = Some(shared().folder.path().join("learnt/adapter"));
    });
    assert_eq!(pair.run().unwrap(), [""; 0]);
}

#[test]
fn the_student_itself_is_told() {
    let pair = Pair::of(&teacher());
    let model = pair.recipe.distill.teacher.clone();
    let pair = pair.with(|recipe| {
        recipe.student.model = model;
        recipe.distill.kind = vec![DistillKind::Ce, DistillKind::Logits];
    });
    let notes = pair.run().unwrap();
    assert!(notes.len() == 1 && notes[0].starts_with("the teacher is the student itself"), "{notes:?}");
}

// The real student.

#[test]
fn a_real_model_teaches_itself_and_not_when_it_is_shifted() {
    let Some(path) = std::env::var_os("ALUDEL_TEST_STUDENT") else {
        assert!(std::env::var_os("ALUDEL_REQUIRE_STUDENT").is_none(), "ALUDEL_TEST_STUDENT is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("rows.jsonl");
    let row = json!({"prompt": "What is the capital of France?", "response": "The capital of France is Paris. It lies on the river Seine, and more than two million people live there."});
    fs::write(&data, format!("{row}\n")).unwrap();
    let mut recipe = recipe(Path::new(&path), &data, &folder.path().join("run"), 1);
    recipe.distill.kind = vec![DistillKind::Logits];
    recipe.distill.teacher = Some(path.into());
    let student = Student::open(recipe.student_model().unwrap()).unwrap();
    assert_eq!(check_texts(&student, &recipe).unwrap(), []);
    for by in [-1, 0, 1] {
        let (found, vocab) = predictions(&recipe, by);
        let check = found.judge(vocab, &recipe.distill).map(|finding| finding.check);
        assert_eq!(check, (by != 0).then_some(Check::Shift), "{found:?}");
        let guessing = (vocab as f64).ln();
        assert!(by != 0 || found.own.value() < 0.3 * guessing, "{found:?}");
    }
}
