//! Two versions of the kernels in one process: the same op of each in turns, so that other load on the machine affects
//! both. Their results are compared first. The ops are in `ops.rs`, compiled once for each version.

use std::time::{Duration, Instant};

macro_rules! version {
    ($name:ident, $kernels:ident) => {
        mod $name {
            use $kernels as kernels;
            include!("ops.rs");
        }
    };
}
version!(a, product);
version!(b, other);

/// An op of one version, ready to run.
pub struct Op {
    name: &'static str,
    run: Box<dyn FnMut()>,
    /// What the last run wrote.
    result: Box<dyn Fn() -> Vec<f32>>,
}

/// Rounds; in each, both versions run for [`BLOCK`].
const ROUNDS: usize = 41;
const BLOCK: Duration = Duration::from_millis(30);
/// How far results may be apart, |a − b| / (1 + |a|): a rounding of bf16.
const TOLERANCE: f64 = 8e-3;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut is_right = true;
    println!("| op | product | other | product / other | middle half of the rounds | results |");
    println!("| --- | ---: | ---: | ---: | ---: | --- |");
    for (a, b) in a::ops().into_iter().zip(b::ops()) {
        if words.is_empty() || words.iter().any(|word| a.0.contains(word.as_str())) {
            is_right &= compare((a.1)(), (b.1)());
        }
    }
    if !is_right {
        eprintln!("the versions do not compute the same");
        std::process::exit(1);
    }
}

/// One line of the table; false if the results differ.
fn compare(mut a: Op, mut b: Op) -> bool {
    (a.run)();
    (b.run)();
    let (first, second) = ((a.result)(), (b.result)());
    let wide: Vec<f64> = first.iter().map(|&x| f64::from(x)).collect();
    let difference = product::check::largest_difference(&second, &wide);
    let results = if first == second { "the same bits".to_owned() } else { format!("off by {difference:.1e}") };
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        // whoever is second may find caches and clocks as the first left them
        let (x, y) = if round % 2 == 0 {
            let x = block(&mut a);
            (x, block(&mut b))
        } else {
            let y = block(&mut b);
            (block(&mut a), y)
        };
        rounds.push((x, y, x / y));
    }
    let part = |of: fn(&(f64, f64, f64)) -> f64, share: f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[(share * (values.len() - 1) as f64) as usize]
    };
    let (x, y, ratio) = (part(|r| r.0, 0.5), part(|r| r.1, 0.5), part(|r| r.2, 0.5));
    let (low, high) = (part(|r| r.2, 0.25), part(|r| r.2, 0.75));
    let micros = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
    println!("| {} | {} | {} | {ratio:.3} | {low:.3} to {high:.3} | {results} |", a.name, micros(x), micros(y));
    difference <= TOLERANCE
}

/// Seconds of one run, the mean over a block of them.
fn block(op: &mut Op) -> f64 {
    // the other version's workers spin for some 70 µs before they sleep
    std::thread::sleep(Duration::from_micros(300));
    (op.run)();
    let (begun, mut runs) = (Instant::now(), 0u32);
    while begun.elapsed() < BLOCK {
        (op.run)();
        runs += 1;
    }
    begun.elapsed().as_secs_f64() / f64::from(runs)
}
