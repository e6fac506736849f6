//! Reads JSON lines `{"gold", "answer"}` and writes one line for each: the verdict, and the answer that was found.
//! `tools/peers/verify` compares these with math-verify's.

use std::io::{self, BufRead, Write};

use aludel_verify::{Verdict, maths};

fn main() -> io::Result<()> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let pair: serde_json::Value = serde_json::from_str(&line?)?;
        let text = |key: &str| pair[key].as_str().unwrap_or_default().to_string();
        let (gold, answer) = (text("gold"), text("answer"));
        let verdict: Verdict = maths::verdict(&answer, &gold);
        let found = maths::extract(&answer);
        writeln!(output, "{}", serde_json::json!({ "verdict": verdict, "found": found }))?;
    }
    output.flush()
}
