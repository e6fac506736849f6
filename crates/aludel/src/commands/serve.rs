//! `aludel serve`: a model, and adapters for it, behind the HTTP protocols that clients already speak. What these are is left to
//! `aludel_serve`; here are options, and how the server is begun and ended.

use super::eval::usual_name;
use crate::console::{Console, harmless};
use crate::hub::local_model;
use crate::humanize::grouped;
use crate::keys::own_key_from_file;
use crate::next_command::as_typed;
use crate::report::{ErrorWithHelp, Outcome};
use crate::run_folder::{adapter_of, warn_of_other_weights};
use crate::settings::{Flags, QuantizeArgs, RecipeArgs, resolve, scope, set_template_date};
use crate::signals::stop_on_signals;
use crate::value_parser::integer;
use aludel_distill::settings::Recipe;
use aludel_serve::{Error, Options, serve};
use clap::Args;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The options of `aludel serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Model: a GGUF file, a Hugging Face model folder, or hf:owner/name
    #[arg(long, value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// Adapter to serve beside the model, and the name that requests call it by; may be given several times
    #[arg(long, value_name = "NAME=DIR", value_parser = named_adapter)]
    adapter: Vec<(String, PathBuf)>,

    /// Address to listen on; other machines can only reach it with --api-key-file
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "N", default_value = "8080", value_parser = integer::<u16>(0..=65_535))]
    port: u16,

    /// File with the key that requests must have
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Maximum number of answers at once, running or waiting; further requests get status 429
    #[arg(long, value_name = "N", default_value = "64", value_parser = integer::<usize>(1..=4096))]
    max_clients: usize,

    /// Maximum number of tokens of a prompt and its answer, up to the model's own
    #[arg(long, value_name = "N", default_value = "8192", value_parser = integer::<usize>(2..=10_000_000))]
    context_length: usize,

    #[command(flatten)]
    recipe: RecipeArgs,

    /// Maximum number of tokens of an answer where a request names none [default: 5000]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    max_new_tokens: Option<String>,

    /// Sampling temperature where a request names none [default: 0.7]
    #[arg(long, value_name = "T", help_heading = "Common settings")]
    temperature: Option<String>,

    /// Precision of matrix products: auto, bf16, f32, or file for the file's own quantisation [default: auto]
    #[arg(long, value_name = "DTYPE", help_heading = "Common settings")]
    dtype: Option<String>,

    #[command(flatten, next_help_heading = "Common settings")]
    quantize: QuantizeArgs,

    /// Number of threads; 0 uses all cores [default: 0]
    #[arg(long, value_name = "N", help_heading = "Common settings")]
    threads: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  aludel serve --model merged
  aludel serve --model student.gguf --adapter maths=run/adapter --port 8081
  aludel serve --model merged --host 0.0.0.0 --api-key-file key.txt

The page at / is for talking to the model. Programs use the protocols of OpenAI (base URL
http://127.0.0.1:8080/v1), Anthropic (http://127.0.0.1:8080) and Ollama (http://127.0.0.1:8080).
Ctrl-C lets answers end that are under way; a second one ends them.";

/// A name, and the folder that it stands for.
fn named_adapter(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.is_empty() && !folder.is_empty() => Ok((name.to_owned(), folder.into())),
        _ => Err("give a name and a folder, such as maths=run/adapter".to_owned()),
    }
}

/// Serves until a signal comes.
pub(crate) fn run(args: &ServeArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let options = args.options()?;
    let (name, adapters) = (options.model_name.clone(), options.adapters.clone());
    serve(options, &mut |address| {
        let stop = stop_on_signals(as_typed()).map_err(io::Error::other)?;
        let names: Vec<_> = [&name].into_iter().chain(adapters.iter().map(|(name, _)| name)).collect();
        let names: Vec<_> = names.iter().map(|name| harmless(name)).collect();
        console.line(format_args!("serving {} at http://{address}", names.join(", ")))?;
        console.flush()?;
        Ok(stop)
    })
    .map_err(with_help)?;
    Ok(Outcome::Done)
}

/// What can be done where it is plain.
fn with_help(error: Error) -> anyhow::Error {
    let help = match &error {
        Error::NoKey { .. } => "give --api-key-file, or leave --host out to serve this machine alone",
        Error::Listen { reason, .. } if reason.kind() == io::ErrorKind::AddrInUse => {
            "another program listens there; give another --port, or 0 for a free one"
        }
        Error::Listen { .. } => {
            "give an address of this machine to --host, and a port that you may listen on to --port"
        }
        Error::Model(_) | Error::Runtime(_) | Error::Engine | Error::Ready(_) => return error.into(),
    };
    ErrorWithHelp { message: error.to_string(), help: help.to_owned() }.into()
}

impl ServeArgs {
    fn options(&self) -> anyhow::Result<Options> {
        let address = SocketAddr::new(self.host, self.port);
        let key = self.api_key_file.as_deref().map(own_key_from_file).transpose()?;
        let mut recipe = self.recipe()?;
        set_template_date(&mut recipe);
        let (model, mut adapters) = (local_model(&self.model)?, Vec::new());
        let model_name = usual_name(&self.model, None);
        for (name, folder) in &self.adapter {
            if *name == model_name || adapters.iter().any(|(other, _)| other == name) {
                let message = format!("--adapter {name}=…: two models of this name could not be told apart");
                return Err(ErrorWithHelp { message, help: "give each adapter a name of its own".to_owned() }.into());
            }
            let folder = adapter_of(folder)?;
            warn_of_other_weights(Some(&folder), &recipe.student)?;
            adapters.push((name.clone(), folder));
        }
        tracing::debug!("at most {} answers at once", grouped(self.max_clients));
        Ok(Options {
            model,
            model_name,
            adapters,
            template: recipe.data.template_inputs(),
            student: recipe.student,
            generate: recipe.generate,
            address,
            key,
            max_clients: self.max_clients,
            context_tokens: self.context_length,
        })
    }

    /// The checked recipe; as in chat, `[student]`, `[generate]` and what `[data]` has for the template.
    fn recipe(&self) -> anyhow::Result<Recipe> {
        let flags = Flags::default()
            .path("--model", "student.model", Some(&self.model))
            .written("--max-new-tokens", "generate.max_new_tokens", self.max_new_tokens.as_ref())
            .written("--temperature", "generate.temperature", self.temperature.as_ref())
            .written("--dtype", "student.dtype", self.dtype.as_ref())
            .written("--threads", "student.threads", self.threads.as_ref());
        resolve(&self.recipe, self.quantize.set(flags), &scope::SERVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn flags_reach_their_settings() {
        let args: ServeArgs =
            parsed(&["--model", "m", "--adapter", "a=b=c", "--temperature", "0", "--set", "generate.top_k=3"]);
        assert_eq!(args.adapter, [("a".to_owned(), PathBuf::from("b=c"))]);
        let generate = args.recipe().unwrap().generate;
        assert_eq!((generate.temperature, generate.top_k), (0.0, 3));
        assert_eq!((args.host.to_string(), args.port, args.max_clients), ("127.0.0.1".to_owned(), 8080, 64));
        for wrong in ["run/adapter", "=run", "name="] {
            assert!(named_adapter(wrong).is_err(), "{wrong}");
        }
    }
}
