//! Every SQL statement of the service.

pub mod files;
pub mod images;
pub mod quotas;
pub mod uses;
pub mod work;

use crate::domain::image::Image;
use crate::domain::lifecycle::Said;
use crate::translate;
use bus::Work;
use store::StoreError;

/// Writes the next state of an image that is in the table, and says what is said about it: one transaction.
pub async fn advance(
    work: &mut Work,
    before: &Image,
    (image, said): (Image, Said),
) -> Result<(), StoreError> {
    images::update(work.tx(), before.revision, &image).await?;
    files::follow(work.tx(), &image).await?;
    translate::say(work, &image, said);
    Ok(())
}

#[cfg(test)]
mod store_tests;
