//! The pool of cache blocks, each with a count of its users. A block comes back when its last user leaves, so that sequences may
//! share the blocks of a common beginning. What stands in a block, and who may write to it, is left to the scheduler.

/// Which blocks of the cache are in use, and by how many.
pub(super) struct BlockPool {
    users: Vec<u32>,
    free: Vec<u32>,
}

impl BlockPool {
    /// A pool of `kv_blocks` free blocks.
    pub(super) fn new(blocks: usize) -> BlockPool {
        // the lowest numbers go first: memory that no one has used yet stays untouched
        BlockPool { users: vec![0; blocks], free: (0..blocks as u32).rev().collect() }
    }

    /// Blocks in all.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// Blocks without a user.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// A block of one's own, unless none is free.
    pub(super) fn take(&mut self) -> Option<u32> {
        let block = self.free.pop()?;
        self.users[block as usize] = 1;
        Some(block)
    }

    /// One more user for each of `kv_blocks`, which must be in use.
    pub(super) fn share(&mut self, blocks: &[u32]) {
        for &block in blocks {
            assert!(self.users[block as usize] > 0, "block {block} is free and cannot be shared");
            self.users[block as usize] += 1;
        }
    }

    /// One user less for each of `kv_blocks`.
    pub(super) fn leave(&mut self, blocks: &[u32]) {
        // the last taken comes back first, and is taken first again
        for &block in blocks.iter().rev() {
            let users = &mut self.users[block as usize];
            assert!(*users > 0, "block {block} was given back twice");
            *users -= 1;
            if *users == 0 {
                self.free.push(block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_block_is_free_when_its_last_user_left() {
        let mut pool = BlockPool::new(3);
        let blocks: Vec<u32> = (0..2).filter_map(|_| pool.take()).collect();
        pool.share(&blocks[..1]);
        pool.leave(&blocks);
        assert_eq!(pool.free(), 2);
        pool.leave(&blocks[..1]);
        assert_eq!((pool.free(), pool.len()), (3, 3));
        let again: Vec<u32> = (0..4).filter_map(|_| pool.take()).collect();
        assert_eq!(again.len(), 3);
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_block_cannot_be_given_back_twice() {
        let mut pool = BlockPool::new(1);
        let block = pool.take().unwrap();
        pool.leave(&[block, block]);
    }
}
