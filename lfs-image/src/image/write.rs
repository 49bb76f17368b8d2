//! The one loop: from the first byte of the disk to the last.

use super::plan::{Image, Table};
use crate::error::Result;
use crate::progress::{Progress, Stage};
use crate::raw::out::{Out, Target};
use crate::raw::relay::relay;
use crate::raw::sink::Sink;
use crate::raw::store::ReadAt;
use crate::table::{CODE, Gpt};

impl Image {
    /// Writes the image. `store` is the one that it was planned with. What comes next is rendered on a thread of its own while the
    /// sink is busy.
    ///
    /// # Errors
    ///
    /// When content can't be read, was changed while it was read, the sink can't take it, or `progress` ends the walk.
    pub fn write<S: Sink>(
        &self,
        store: &(dyn ReadAt + Sync),
        mut sink: S,
        progress: &mut dyn Progress,
    ) -> Result<S::Receipt> {
        let total = self.len();
        sink.begin(total)?;
        let mut written = |done| progress.at(Stage::Write, done, Some(total));
        relay(store, &mut sink, &mut written, |out| self.render(store, out))?;
        // An image of an old and a new archive is of neither.
        store.verify_unchanged()?;
        sink.finish()
    }

    /// Describes the disk from its first byte to its last.
    fn render<S: Target + ?Sized>(&self, store: &dyn ReadAt, out: &mut Out<'_, S>) -> Result<()> {
        let boot = self.boot.as_ref();
        let (head, tail) = self.table.render(&self.code());
        out.data(&head)?;
        if let Some(area) = boot.and_then(|plan| plan.bios_area.as_ref()) {
            // A GPT has a partition for it; else it comes right behind sector 0.
            if let Some(span) = self.layout.bios_boot {
                out.skip_to(span.offset)?;
            }
            out.data(area)?;
        }
        if let (Some(span), Some(payload)) =
            (self.layout.payload, boot.and_then(|plan| plan.payload.as_ref()))
        {
            out.skip_to(span.offset)?;
            payload.emit(out, store)?;
        }
        if let (Some(span), Some(esp)) = (self.layout.esp, &self.esp) {
            out.skip_to(span.offset)?;
            esp.emit(out, store)?;
        }
        out.skip_to(self.layout.root.offset)?;
        self.root.emit(&self.tree, store, out)?;
        out.skip_to(self.len() - tail.len() as u64)?;
        out.data(&tail)
    }

    /// The boot code in front of the partition table.
    fn code(&self) -> [u8; CODE] {
        self.boot.as_ref().and_then(|plan| plan.boot_code).unwrap_or([0; CODE])
    }

    /// The GPT, if that is the table, and the boot code in front of it.
    #[cfg_attr(not(feature = "ebs"), allow(dead_code, reason = "for volumes larger than the image"))]
    pub(crate) fn gpt(&self) -> Option<(&Gpt, [u8; CODE])> {
        match &self.table {
            Table::Gpt { gpt, .. } => Some((gpt, self.code())),
            Table::Mbr { .. } | Table::None { .. } => None,
        }
    }
}
