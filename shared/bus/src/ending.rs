//! What is done when a unit of work, or one message within it, has ended.

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is committed.
    Committed,
    /// It was rolled back, whole or the message alone.
    Undone,
}

type Hook = Box<dyn FnOnce(End) + Send>;

/// What is to be done, in the order in which it came. Hooks of a work that goes away without a commit are told that it is
/// undone.
#[derive(Default)]
pub(crate) struct Hooks(Vec<Hook>);

impl Hooks {
    /// One more.
    pub fn push(&mut self, hook: Hook) {
        self.0.push(hook);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those after the first `count` belong to a message that was undone.
    pub fn undo_after(&mut self, count: usize) {
        for hook in self.0.drain(count.min(self.0.len())..) {
            hook(End::Undone);
        }
    }

    /// All is committed.
    pub fn committed(mut self) {
        for hook in std::mem::take(&mut self.0) {
            hook(End::Committed);
        }
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.undo_after(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn every_hook_is_told_once_how_it_ended_in_the_order_in_which_it_came() {
        let told: Arc<Mutex<Vec<(u8, End)>>> = Arc::default();
        let hook = |name: u8| -> Hook {
            let told = told.clone();
            Box::new(move |end| told.lock().expect("whole").push((name, end)))
        };
        let mut hooks = Hooks::default();
        (1..=3).for_each(|name| hooks.push(hook(name)));
        hooks.undo_after(1);
        hooks.push(hook(4));
        hooks.committed();
        let mut lost = Hooks::default();
        lost.push(hook(5));
        drop(lost);
        let expected =
            [(2, End::Undone), (3, End::Undone), (1, End::Committed), (4, End::Committed), (5, End::Undone)];
        assert_eq!(*told.lock().expect("whole"), expected);
    }
}
