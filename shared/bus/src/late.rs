//! Rows that the messages of one transaction leave to be written together.
//!
//! An event is a snapshot with a revision: of several about one object only the newest has to reach the table, and rows
//! of many objects go in one statement. What each message would write alone costs a round trip to the database.

use async_trait::async_trait;
use sqlx::AnyConnection;
use std::any::{Any, TypeId};
use store::StoreError;

/// Rows of one kind. Whoever reads their table within the same work has to ask them first.
#[async_trait]
pub trait LateRows: Any + Send {
    /// Writes all of them; they are as the table has them then. Called again for rows that come later.
    async fn write(&mut self, tx: &mut AnyConnection) -> Result<(), StoreError>;
}

/// The rows of all kinds that wait in one unit of work.
#[derive(Default)]
pub(crate) struct Late(Vec<(TypeId, Box<dyn LateRows>)>);

impl Late {
    /// The rows of one kind.
    pub fn of<R: LateRows + Default>(&mut self) -> &mut R {
        let kind = TypeId::of::<R>();
        let at = self.0.iter().position(|(id, _)| *id == kind).unwrap_or_else(|| {
            self.0.push((kind, Box::new(R::default())));
            self.0.len() - 1
        });
        let rows: &mut dyn Any = self.0[at].1.as_mut();
        rows.downcast_mut().expect("kept under the id of its type")
    }

    /// Writes everything.
    pub async fn write(&mut self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        for (_, rows) in &mut self.0 {
            rows.write(tx).await?;
        }
        Ok(())
    }

    /// The message that left them is undone.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}
