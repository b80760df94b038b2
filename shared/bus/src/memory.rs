//! What the messages of one transaction know together: read or reckoned by one of them, and spared the others.

use std::any::{Any, TypeId};
use std::collections::HashMap;

/// One value of each type.
#[derive(Default)]
pub(crate) struct Memory(HashMap<TypeId, Box<dyn Any + Send>>);

impl Memory {
    /// The value of one type; its default before somebody set it.
    pub fn of<T: Any + Send + Default>(&mut self) -> &mut T {
        let value: &mut dyn Any =
            self.0.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default())).as_mut();
        value.downcast_mut().expect("kept under the id of its type")
    }

    /// What was known may not be so any more.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}
