//! Where the time of a pass goes, by kind of op. Ops open a span; the outermost one counts, so that products inside the
//! head belong to the head. Always on: a span reads the clock twice, and a pass has a few thousand spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The kinds of op that a breakdown distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Linears, their adapters and the packing of their operands.
    Matrix,
    /// Attention, forward and backward.
    Attention,
    /// Norms, rotary positions, gated activation, dropout, moved rows.
    Rowwise,
    /// The head and the loss on top of it.
    Head,
    /// Gradient norm, clipping, update.
    Optimiser,
}

impl Kind {
    /// All kinds, in the order of a breakdown.
    pub const ALL: [Kind; 5] = [Kind::Matrix, Kind::Attention, Kind::Rowwise, Kind::Head, Kind::Optimiser];
}

/// Sums of time by kind.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    open: AtomicU64,
    nanoseconds: [AtomicU64; Kind::ALL.len()],
}

impl Clock {
    pub(crate) fn span(self: &Arc<Clock>, kind: Kind) -> Span {
        let is_outermost = self.open.fetch_add(1, Ordering::Relaxed) == 0;
        Span { clock: Arc::clone(self), kind, begun: is_outermost.then(Instant::now) }
    }

    pub(crate) fn total(&self, kind: Kind) -> Duration {
        Duration::from_nanos(self.nanoseconds[kind as usize].load(Ordering::Relaxed))
    }
}

/// Counts until it is dropped.
#[must_use]
pub struct Span {
    clock: Arc<Clock>,
    kind: Kind,
    begun: Option<Instant>,
}

impl Drop for Span {
    fn drop(&mut self) {
        self.clock.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(begun) = self.begun {
            let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.clock.nanoseconds[self.kind as usize].fetch_add(nanoseconds, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_span_counts() {
        let clock = Arc::new(Clock::default());
        {
            let _head = clock.span(Kind::Head);
            let _matrix = clock.span(Kind::Matrix);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(clock.total(Kind::Head) >= Duration::from_millis(2));
        assert_eq!(clock.total(Kind::Matrix), Duration::ZERO);
    }
}
