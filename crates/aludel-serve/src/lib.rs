//! `aludel serve`: a model behind the HTTP protocols that clients already speak (OpenAI's, Anthropic's, Ollama's). Generation is
//! the engine's, the way between messages and text `aludel_distill`'s; here are connections, requests and answers. Nothing is printed.
#![forbid(unsafe_code)]

mod answer;
mod anthropic;
mod body;
mod connections;
mod engine;
mod error;
mod guard;
mod metrics;
mod ollama;
mod openai;
mod options;
mod page;
mod router;
mod sampling;
mod server;
mod stalled;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use error::{Error, Result};
pub use options::Options;

/// Loads the model, tells `ready` the address, and answers until the flag that it gives is set. Answers under way then end; new ones are refused.
///
/// # Errors
/// An address that cannot be listened to, or that is not of this machine and without a key; whatever is wrong with the model; an
/// engine that broke.
pub fn serve(options: Options, ready: &mut dyn FnMut(SocketAddr) -> io::Result<Arc<AtomicBool>>) -> Result<()> {
    if !options.address.ip().is_loopback() && options.key.is_none() {
        return Err(Error::NoKey { address: options.address });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let served = runtime.block_on(connections::run(options, ready));
    // a prompt that is being tokenised for nobody keeps nobody waiting
    runtime.shutdown_background();
    served
}
