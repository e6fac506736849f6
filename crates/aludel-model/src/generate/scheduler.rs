//! Which sequences run, on which blocks of the cache, and what the next pass takes of each: continuous batching. Sequences run in the
//! order in which they were submitted; blocks are taken as they are needed, and where none is left the youngest sequence gives its
//! own back and waits to be computed again (recompute preemption, as in vLLM: Kwon et al., 2023). No tensor is touched here.

use std::collections::VecDeque;
use std::sync::Arc;

use aludel_kernels::attention::{BLOCK, Extensions};

use super::kv_blocks::BlockPool;
use super::{Request, RequestId};
use crate::decoder::PackedBatch;

/// One sample of a request.
pub(super) struct Sequence {
    pub(super) id: RequestId,
    /// The samples of one prompt hold one request; that is how they know each other.
    pub(super) request: Arc<Request>,
    /// Which sample: it takes part in the draws.
    pub(super) sample: u32,
    /// Prompt and answer so far.
    pub(super) tokens: Vec<u32>,
    /// Tokens whose keys and values are cached.
    cached: usize,
    blocks: Vec<u32>,
}

/// What the next pass takes. Used again from pass to pass.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) pass: PackedBatch,
    /// One for each member.
    pub(super) extensions: Extensions,
    /// Places among the running sequences, ascending.
    members: Vec<usize>,
    /// Members whose last token is in the pass: their places among the running sequences.
    pub(super) complete: Vec<usize>,
    /// The rows of those last tokens in the pass.
    pub(super) last_rows: Vec<u32>,
}

pub(super) struct Schedule {
    pool: BlockPool,
    /// The oldest first.
    running: Vec<Sequence>,
    waiting: VecDeque<Sequence>,
    tokens_per_pass: usize,
}

impl Schedule {
    /// `kv_blocks` blocks for all sequences, and at most `tokens_per_pass` tokens in a pass.
    pub(super) fn new(blocks: usize, tokens_per_pass: usize) -> Schedule {
        Schedule {
            pool: BlockPool::new(blocks),
            running: Vec::new(),
            waiting: VecDeque::new(),
            tokens_per_pass: tokens_per_pass.max(1),
        }
    }

    pub(super) fn pool(&self) -> &BlockPool {
        &self.pool
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn running(&self, at: usize) -> &Sequence {
        &self.running[at]
    }

    pub(super) fn running_mut(&mut self, at: usize) -> &mut Sequence {
        &mut self.running[at]
    }

    /// Queues a sequence. Alone, it must fit the cache.
    pub(super) fn submit(&mut self, id: RequestId, request: Arc<Request>, sample: u32) {
        let tokens = request.prompt.clone();
        self.waiting.push_back(Sequence { id, request, sample, tokens, cached: 0, blocks: Vec::new() });
    }

    /// Forgets a sequence, running or waiting.
    pub(super) fn remove(&mut self, id: RequestId) {
        self.waiting.retain(|sequence| sequence.id != id);
        if let Some(at) = self.running.iter().position(|sequence| sequence.id == id) {
            self.pool.leave(&self.running.remove(at).blocks);
        }
    }

    /// Computes a running sequence again from its first token, in blocks of its own: other samples of its prompt go on with what they share.
    pub(super) fn restart(&mut self, at: usize) {
        let sequence = &mut self.running[at];
        self.pool.leave(&sequence.blocks);
        sequence.blocks.clear();
        sequence.cached = 0;
        sequence.request = Arc::new(Request::clone(&sequence.request));
    }

    /// Admits what fits and puts the next pass together. It is empty only if nothing is left to do.
    pub(super) fn next_batch(&mut self, batch: &mut Batch) {
        self.admit();
        batch.clear();
        // answers go on whatever prompts are waiting
        let mut room = self.tokens_per_pass - self.running.iter().filter(|s| s.pending() == 1).count();
        let mut at = 0;
        while at < self.running.len() {
            let pending = self.running[at].pending();
            let count = if pending == 1 {
                1
            } else if self.waits_for_prompt(at) {
                0
            } else {
                pending.min(room)
            };
            if count > 0 && self.make_room(at, count) {
                if pending > 1 {
                    room -= count;
                }
                batch.push(at, &self.running[at], count);
            }
            at += 1;
        }
    }

    /// The batch was computed: its tokens are cached, in shared blocks for all that share them.
    pub(super) fn commit(&mut self, batch: &Batch) {
        for (&at, (tokens, start)) in batch.members.iter().zip(batch.extensions.sequences()) {
            let sequence = &mut self.running[at];
            sequence.cached += tokens.len();
            let (shared, cached) = (sequence.shared_tokens(), sequence.cached);
            if start < shared {
                let request = Arc::clone(&sequence.request);
                for other in self.running.iter_mut().filter(|other| Arc::ptr_eq(&other.request, &request)) {
                    other.cached = other.cached.max(cached.min(shared));
                }
            }
        }
    }

    fn admit(&mut self) {
        while let Some(next) = self.waiting.front() {
            let mate = self.running.iter().find(|other| Arc::ptr_eq(&other.request, &next.request));
            let shared = mate.map_or(0, |mate| mate.shared_tokens() / BLOCK);
            let needed = next.tokens.len().div_ceil(BLOCK) - shared;
            // a block for each that runs stays free, or the newcomer would soon have to leave again
            let fits = self.running.is_empty() || needed + self.running.len() <= self.pool.free();
            if !fits || self.running.len() >= self.tokens_per_pass {
                return;
            }
            let (blocks, cached) = mate.map_or((Vec::new(), 0), |mate| {
                (mate.blocks[..shared].to_vec(), mate.cached.min(mate.shared_tokens()))
            });
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            self.pool.share(&blocks);
            sequence.reserve(self.pool.len());
            sequence.blocks.extend(blocks);
            sequence.cached = cached;
            sequence.blocks.extend((0..needed).filter_map(|_| self.pool.take()));
            self.running.push(sequence);
        }
    }

    /// Whether an older sample of the same prompt is computing the blocks that this one shares.
    fn waits_for_prompt(&self, at: usize) -> bool {
        let sequence = &self.running[at];
        sequence.cached < sequence.shared_tokens()
            && self.running[..at].iter().any(|older| Arc::ptr_eq(&older.request, &sequence.request))
    }

    /// Gives a sequence the blocks for `count` more tokens, at the cost of younger ones. False if it had to leave itself.
    fn make_room(&mut self, at: usize, count: usize) -> bool {
        while self.running[at].blocks.len() * BLOCK < self.running[at].cached + count {
            if let Some(block) = self.pool.take() {
                self.running[at].blocks.push(block);
                continue;
            }
            let Some(mut youngest) = self.running.pop() else { return false };
            self.pool.leave(&youngest.blocks);
            youngest.blocks.clear();
            youngest.cached = 0;
            self.waiting.push_front(youngest);
            if self.running.len() == at {
                return false;
            }
        }
        true
    }
}

impl Sequence {
    /// Room for all that it may come to say, so that no pass waits for memory. No sequence takes more than all blocks.
    fn reserve(&mut self, all_blocks: usize) {
        let most = self.request.prompt.len().saturating_add(self.request.max_new_tokens).min(all_blocks * BLOCK);
        self.tokens.reserve_exact(most.saturating_sub(self.tokens.len()));
        self.blocks.reserve_exact(most.div_ceil(BLOCK));
    }

    fn pending(&self) -> usize {
        self.tokens.len() - self.cached
    }

    /// Prompt tokens in the blocks that all samples of the prompt share: its whole blocks, but never its last token, whose logits each
    /// sample wants. Each sample computes the rest in blocks of its own, for no one may write where others read.
    fn shared_tokens(&self) -> usize {
        (self.request.prompt.len() - 1) / BLOCK * BLOCK
    }
}

impl Batch {
    fn clear(&mut self) {
        self.pass.clear();
        self.extensions.clear();
        self.members.clear();
        self.complete.clear();
        self.last_rows.clear();
    }

    fn push(&mut self, at: usize, sequence: &Sequence, count: usize) {
        let (start, cached) = (self.pass.len(), sequence.cached);
        self.pass.ids.extend(&sequence.tokens[cached..cached + count]);
        self.pass.positions.extend((cached..cached + count).map(|position| position as u32));
        self.pass.lengths.resize(self.pass.ids.len(), sequence.tokens.len() as u32);
        self.pass.examples.resize(self.pass.ids.len(), 0);
        let tokens = start..start + count;
        self.extensions.reserve(sequence.blocks.capacity());
        self.extensions.push(tokens, cached, &sequence.blocks);
        self.members.push(at);
        if count == sequence.pending() {
            self.complete.push(at);
            self.last_rows.push((start + count) as u32 - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Sampling;

    /// Submits `samples` samples of a prompt of `length` tokens.
    fn submit(schedule: &mut Schedule, first_id: u64, length: usize, samples: u32) {
        let (prompt, sampling) = (vec![7; length], Sampling::default());
        let request = Arc::new(Request { prompt, max_new_tokens: 1000, sampling, stop_ids: vec![], top_logprobs: 0 });
        for sample in 0..samples {
            schedule.submit(RequestId(first_id + u64::from(sample)), Arc::clone(&request), sample);
        }
    }

    /// One pass; each complete sequence gets a token. Returns who took part (id, first position, tokens).
    fn pass(schedule: &mut Schedule) -> Vec<(u64, usize, usize)> {
        let mut batch = Batch::default();
        schedule.next_batch(&mut batch);
        schedule.commit(&batch);
        for &at in &batch.complete {
            schedule.running_mut(at).tokens.push(7);
        }
        let members = batch.members.iter().zip(batch.extensions.sequences());
        members.map(|(&at, (tokens, start))| (schedule.running(at).id.0, start, tokens.len())).collect()
    }

    #[test]
    fn a_prompt_is_computed_once_and_its_whole_blocks_are_shared() {
        let mut schedule = Schedule::new(16, 100);
        submit(&mut schedule, 0, 150, 3);
        assert_eq!(pass(&mut schedule), [(0, 0, 100)]);
        assert_eq!(schedule.pool().free(), 16 - 2 - 3, "two shared blocks and one of its own for each");
        assert_eq!(pass(&mut schedule), [(0, 100, 50)]);
        assert_eq!(pass(&mut schedule), [(0, 150, 1), (1, 128, 22), (2, 128, 22)]);
        assert_eq!(pass(&mut schedule), [(0, 151, 1), (1, 150, 1), (2, 150, 1)]);
        schedule.remove(RequestId(0));
        schedule.remove(RequestId(2));
        assert_eq!(schedule.pool().free(), 16 - 2 - 1);
        schedule.remove(RequestId(1));
        assert_eq!(schedule.pool().free(), 16);
    }

    #[test]
    fn a_prompt_of_whole_blocks_keeps_its_last_one_apart() {
        let mut schedule = Schedule::new(16, 100);
        submit(&mut schedule, 0, 64, 2);
        assert_eq!(pass(&mut schedule), [(0, 0, 64), (1, 0, 36)]);
        assert_eq!(schedule.pool().free(), 14);
    }

    #[test]
    fn a_prompt_outlives_the_sample_that_was_computing_it() {
        let mut schedule = Schedule::new(16, 70);
        submit(&mut schedule, 0, 150, 2);
        assert_eq!(pass(&mut schedule), [(0, 0, 70)]);
        schedule.remove(RequestId(0));
        assert_eq!(pass(&mut schedule), [(1, 70, 70)]);
    }

    #[test]
    fn a_sequence_that_restarts_shares_nothing() {
        let mut schedule = Schedule::new(16, 200);
        submit(&mut schedule, 0, 130, 2);
        assert_eq!(pass(&mut schedule), [(0, 0, 130)]);
        assert_eq!(pass(&mut schedule), [(0, 130, 1), (1, 128, 2)]);
        schedule.restart(0);
        assert_eq!(pass(&mut schedule), [(0, 0, 132), (1, 130, 1)]);
        assert_eq!(pass(&mut schedule), [(0, 132, 1), (1, 131, 1)]);
        assert_eq!(schedule.pool().free(), 16 - 3 - 3);
        schedule.remove(RequestId(0));
        schedule.remove(RequestId(1));
        assert_eq!(schedule.pool().free(), 16);
    }

    #[test]
    fn where_no_block_is_left_the_youngest_waits_and_comes_back() {
        let mut schedule = Schedule::new(4, 200);
        submit(&mut schedule, 0, 64, 1);
        submit(&mut schedule, 1, 64, 1);
        submit(&mut schedule, 2, 64, 1);
        // the third would fit, but not beside the blocks that the first two will want
        assert_eq!(pass(&mut schedule), [(0, 0, 64), (1, 0, 64)]);
        for position in 64..128 {
            assert_eq!(pass(&mut schedule), [(0, position, 1), (1, position, 1)]);
        }
        assert_eq!(pass(&mut schedule), [(0, 128, 1)]);
        assert_eq!(schedule.pool().free(), 1);
        schedule.remove(RequestId(0));
        assert_eq!(pass(&mut schedule), [(1, 0, 129)], "with what it had said already");
    }

    #[test]
    fn no_more_sequences_run_than_a_pass_has_tokens() {
        let mut schedule = Schedule::new(100, 4);
        submit(&mut schedule, 0, 1, 6);
        assert_eq!(pass(&mut schedule).len(), 4);
        submit(&mut schedule, 6, 9, 1);
        schedule.remove(RequestId(0));
        schedule.remove(RequestId(1));
        schedule.remove(RequestId(2));
        // one goes on, two begin, and the prompt gets what room is left
        assert_eq!(pass(&mut schedule), [(3, 1, 1), (4, 0, 1), (5, 0, 1), (6, 0, 1)]);
        assert!(!schedule.is_idle());
    }
}
