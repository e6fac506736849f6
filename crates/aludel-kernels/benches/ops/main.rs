//! `cargo bench -p aludel-kernels`: the time of each op at the sizes of SmolLM2-135M, measured by criterion, and its
//! share of what this machine can do at best. There is one file per group of ops; `roofline` computes the ceiling.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // a report, at a developer's desk

mod attention;
mod case;
mod products;
mod roofline;
mod rowwise;
mod vocabulary;

use std::time::{Duration, Instant};

use aludel_kernels::Context;
use criterion::{BenchmarkId, Criterion};

use case::Case;
use roofline::{Ceilings, Row};

/// Measurements of an op; the table has their median.
const SAMPLES: usize = 20;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .configure_from_args();
    let mut ceilings = Ceilings::measure();
    let groups = [products::cases(), attention::cases(), rowwise::cases(), vocabulary::cases()];
    let rows: Vec<Row> = groups.into_iter().flatten().filter_map(|case| measure(&mut criterion, case)).collect();
    criterion.final_summary();
    ceilings.measure_again();
    if !rows.is_empty() {
        print!("{}", ceilings.table(&rows));
    }
}

/// Lets criterion time a case. `None` if a filter on the command line left it out, or if it only ran to be tested.
fn measure(criterion: &mut Criterion, case: Case) -> Option<Row> {
    let mut samples = Vec::new();
    let (mut prepare, mut prepared) = (Some(case.prepare), None);
    criterion.benchmark_group(case.op).bench_function(BenchmarkId::from_parameter(&case.shape), |bencher| {
        let (ctx, run) = prepared.get_or_insert_with(|| {
            let mut ctx = Context::cpu(0);
            let prepare = prepare.take().expect("a case is prepared once");
            let run = prepare(&mut ctx);
            (ctx, run)
        });
        bencher.iter_custom(|iterations| {
            let begun = Instant::now();
            (0..iterations).for_each(|_| run(ctx));
            let elapsed = begun.elapsed();
            samples.push(elapsed.as_secs_f64() / iterations as f64);
            elapsed
        });
    });
    // criterion warms up before it measures
    let mut measured = samples.split_off(samples.len().checked_sub(SAMPLES)?);
    measured.sort_by(f64::total_cmp);
    Some(Row { op: case.op, shape: case.shape, work: case.work, seconds: measured[SAMPLES / 2] })
}
