//! Token embeddings, some rows of which are trained.

use super::Values;
use crate::device::{Context, Indices, Mat};
use crate::embedding::Table;
use crate::head::TrainedRows;

pub(crate) fn forward(ctx: &mut Context, table: &Table, ids: Indices, trained: Option<TrainedRows>, out: Mat) {
    let trained = trained.map(|trained| (ctx.entries(trained.ids).to_vec(), Values::of(ctx, trained.rows)));
    let mut found = Values::zeroed(out.rows(), out.cols());
    for (t, id) in ctx.entries(ids).iter().enumerate() {
        let place = trained.as_ref().and_then(|(ids, rows)| Some(rows.row(ids.iter().position(|other| other == id)?)));
        match place {
            Some(row) => found.row_mut(t).copy_from_slice(row),
            None => table.row(*id, found.row_mut(t)),
        }
    }
    ctx.write(out, &found.values);
}

pub(crate) fn backward(ctx: &mut Context, ids: Indices, trained: TrainedRows, dx: Mat, drows: Mat) {
    if ctx.planning() {
        return;
    }
    let (dx, mut sums) = (Values::of(ctx, dx), Values::of(ctx, drows));
    for (i, trained) in ctx.entries(trained.ids).iter().enumerate() {
        for (t, _) in ctx.entries(ids).iter().enumerate().filter(|(_, id)| *id == trained) {
            sums.row_mut(i).iter_mut().zip(dx.row(t)).for_each(|(sum, d)| *sum += d);
        }
    }
    ctx.write(drows, &sums.values);
}
