//! The one loop: from the first byte of the disk to the last.

use super::plan::Image;
use crate::error::Result;
use crate::progress::{Progress, Stage};
use crate::raw::out::Out;
use crate::raw::sink::Sink;
use crate::raw::store::ReadAt;
use crate::table::CODE;

impl Image {
    /// Writes the image. `store` is the one that it was planned with.
    ///
    /// # Errors
    ///
    /// When content can't be read, the sink can't take it, or `progress` ends the walk.
    pub fn write<S: Sink>(
        &self,
        store: &dyn ReadAt,
        mut sink: S,
        progress: &mut dyn Progress,
    ) -> Result<S::Receipt> {
        let total = self.len();
        sink.begin(total)?;
        let mut written = |done| progress.at(Stage::Write, done, Some(total));
        let mut out = Out::new(&mut sink, &mut written);
        let (head, tail) = self.table.render(&[0; CODE]);
        out.data(&head)?;
        out.skip_to(self.layout.root.offset)?;
        self.root.emit(&self.tree, store, &mut out)?;
        out.skip_to(total - tail.len() as u64)?;
        out.data(&tail)?;
        out.flush()?;
        sink.finish()
    }
}
