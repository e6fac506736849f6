//! Tests of result folders that are opened again: files of another version, and what only the first process knew.

use super::*;

/// As a folder of an earlier version, which did not have all settings yet, and one of a later.
#[test]
fn a_setting_that_is_not_given_makes_no_other_evaluation() {
    let home = tempfile::tempdir().unwrap();
    let tasks = [task_of(home.path(), SUMS).unwrap()];
    let folder = home.path().join("results");
    session(&tasks, &folder, 1, 2).unwrap();
    let path = folder.join(PLAN_FILE_NAME);
    let mut plan: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let settings = plan["settings"].as_object_mut().unwrap();
    settings.insert("template_variables".to_owned(), serde_json::json!({}));
    settings.insert("template_date".to_owned(), serde_json::Value::Null);
    fs::write(&path, plan.to_string()).unwrap();
    assert_eq!(session(&tasks, &folder, 1, 9).unwrap().1, 1);
}

/// Says nothing but that it was cut, and knows how much room there was.
struct AllCut;

impl EvalBackend for AllCut {
    fn answer(
        &mut self,
        asks: &[SampleRequest<'_>],
        _is_resumed: bool,
        _stop: &AtomicBool,
        meter: &mut Meter,
        take: &mut dyn FnMut(Option<FinishedSample>, &Meter) -> Result<()>,
    ) -> Result<()> {
        for ask in asks {
            let answer = Answer { content: "so".into(), truncated: true, completion_tokens: 9, ..Answer::default() };
            take(
                Some(FinishedSample { task: ask.task, problem: ask.problem, sample: ask.samples.start, answer }),
                meter,
            )?;
        }
        Ok(())
    }

    fn context(&self) -> Option<usize> {
        Some(801)
    }
}

#[test]
fn a_complete_folder_that_is_scored_again_advises_the_same() {
    let home = tempfile::tempdir().unwrap();
    let tasks = [task_of(home.path(), SUMS).unwrap()];
    let folder = home.path().join("results");
    let scored = || {
        let open = || Ok(Box::new(AllCut) as Box<dyn EvalBackend>);
        let results = evaluate(&evaluation(&tasks, 1), &folder, open, &AtomicBool::new(false), &mut |_| {});
        results.unwrap().unwrap().tasks[0].warnings.clone()
    };
    let first = scored();
    assert!(first.len() == 1 && first[0].ends_with("has room for 801"), "{first:?}");
    fs::remove_file(folder.join(RESULTS_FILE_NAME)).unwrap();
    assert_eq!(scored(), first);

    // An earlier version did not write it: what it left is read, and gets it with the next answer.
    let path = folder.join(PLAN_FILE_NAME);
    let mut plan: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(plan.as_object_mut().unwrap().remove("context"), Some(801.into()));
    fs::write(&path, plan.to_string()).unwrap();
    fs::remove_file(folder.join(RESULTS_FILE_NAME)).unwrap();
    assert!(scored()[0].ends_with("; raise --max-new-tokens"), "nothing tells how much room there was");
    let samples = folder.join(SAMPLES_FILE_NAME);
    let text = fs::read_to_string(&samples).unwrap();
    fs::write(&samples, text.split_inclusive('\n').skip(1).collect::<String>()).unwrap();
    fs::remove_file(folder.join(RESULTS_FILE_NAME)).unwrap();
    assert_eq!(scored(), first);
    fs::remove_file(folder.join(RESULTS_FILE_NAME)).unwrap();
    assert_eq!(scored(), first);
}
