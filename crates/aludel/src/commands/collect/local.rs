//! A teacher on this machine: loaded, and named in the store so that its answers are not taken for another model's. What it is asked
//! comes from the collection, as for a server.

use crate::commands::eval::usual_name;
use crate::hub::local_model;
use crate::progress::{Progress, WorkKind};
use crate::report::ErrorWithHelp;
use crate::settings::today;
use aludel_data::dataset::{Content, Prompt, Record};
use aludel_distill::local_teacher::{LocalTeacher, LocalTeacherOptions, identity};
use aludel_distill::settings::{Recipe, StudentSettings};
use aludel_teacher::client::RequestParams;
use aludel_teacher::collect::Options;
use serde_json::{Map, Value};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A model that is ready to be asked.
pub(super) struct LoadedTeacher {
    pub(super) teacher: Arc<LocalTeacher>,
    /// Its name in the store, unless the user gives one.
    name: String,
    identity: Map<String, Value>,
}

impl LoadedTeacher {
    /// The options of a collection that asks it.
    pub(super) fn options(&self, options: Options) -> Options {
        let asking = options.asking;
        let model = if asking.model.is_empty() { self.name.clone() } else { asking.model };
        let asking = RequestParams { model, extra_body: self.identity.clone(), ..asking };
        Options { asking, concurrency: options.concurrency.min(self.teacher.sequences()), ..options }
    }
}

/// Loads the model that `trace.teacher` names, with the settings of teachers in `[distill]`.
pub(super) fn load(named: &Path, recipe: &Recipe) -> anyhow::Result<LoadedTeacher> {
    let (trace, distill) = (&recipe.trace, &recipe.distill);
    let model = local_model(named)?;
    if !aludel_files::is_there(&model) {
        return Err(ErrorWithHelp {
            message: format!("trace.teacher: {}: there is no such file or folder", named.display()),
            help: "check the path of the model; the address of a server begins with http:// or https://".to_owned(),
        }
        .into());
    }
    let options = trace.options();
    let prompts = trace.prompt_files(recipe.data.read_options());
    let mut longest_prompt = 0;
    for prompt in prompts.read()? {
        let Prompt { messages, provenance, .. } = prompt?;
        longest_prompt = longest_prompt.max(Record::new(Content::Messages(messages), provenance).text_bytes());
    }
    let shown = Progress::new();
    shown.begin(WorkKind::Hashing);
    let adapter = distill.teacher_adapter.as_deref();
    let (dtype, quantize) = (distill.teacher_dtype, distill.teacher_quantize);
    let student = StudentSettings { dtype, quantize, ..recipe.student.clone() };
    let mut inputs = recipe.data.template_inputs();
    let identity = identity(&model, adapter, &student, &inputs)?;
    // As a server would tell its template; a store that is continued tomorrow stays one store.
    inputs.date.get_or_insert_with(today);
    shown.begin(WorkKind::Loading);
    let options = LocalTeacherOptions {
        student: &student,
        inputs,
        longest_prompt,
        max_new_tokens: options.asking.max_tokens.map_or(0, |tokens| tokens as usize),
        concurrency: options.concurrency,
        seed: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64,
    };
    let teacher = Arc::new(LocalTeacher::open(&model, adapter, options, &|done, total| {
        shown.loading(done, total);
        ControlFlow::Continue(())
    })?);
    Ok(LoadedTeacher { teacher, name: usual_name(named, adapter), identity })
}
