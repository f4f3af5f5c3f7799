//! The commit of upkeep, tried until it lands.

use super::compact::Rewritten;
use super::inventory::{Depth, Inventory};
use super::{swap, take_back};
use crate::catalog;
use crate::commit::Patience;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;

impl Lake {
    /// Commits on top of whatever is there; those of the rewritten files that are in the table now. Those whose originals
    /// another process has replaced meanwhile are not.
    ///
    /// # Errors
    /// The table is as it was, except for [`ErrorKind::OutcomeUnknown`].
    pub(super) fn settle(
        &mut self,
        depth: Depth,
        inventory: Inventory,
        mut rewritten: Vec<Rewritten>,
        expire: &[i64],
    ) -> Result<Vec<Rewritten>> {
        match self.settle_all(depth, inventory, &mut rewritten, expire) {
            Ok(()) => Ok(rewritten),
            Err(error) => {
                if error.kind() != ErrorKind::OutcomeUnknown {
                    take_back(rewritten);
                }
                Err(error)
            }
        }
    }

    fn settle_all(
        &mut self,
        depth: Depth,
        mut inventory: Inventory,
        rewritten: &mut Vec<Rewritten>,
        expire: &[i64],
    ) -> Result<()> {
        let mut patience = Patience::new(self.settings.commit_patience);
        loop {
            let late = rewritten.extract_if(.., |files| !fits(self, &inventory, files));
            take_back(late.collect());
            let base = self.table.metadata_location().unwrap_or_default().to_owned();
            let Err(error) = self.try_settle(&base, &inventory, rewritten, expire) else {
                return Ok(());
            };
            if error.kind() == ErrorKind::OutcomeUnknown {
                return Err(error);
            }
            self.refresh()?;
            // Whatever the error, files of a state that is no longer current may be gone.
            let has_moved = self.table.metadata_location() != Some(&base);
            let Some(pause) = patience.pause().filter(|_| has_moved || error.is_retryable()) else {
                return Err(error);
            };
            std::thread::sleep(pause);
            inventory = self.runtime.block_on(Inventory::read(&self.table, depth))?;
        }
    }

    /// One try on the state that was read.
    fn try_settle(
        &mut self,
        base: &str,
        inventory: &Inventory,
        rewritten: &[Rewritten],
        expire: &[i64],
    ) -> Result<()> {
        let expire = still_expired(inventory, expire);
        let staging = swap::stage(&self.table, inventory, rewritten, &expire);
        let Some(staged) = self.runtime.block_on(staging)? else {
            return Ok(());
        };
        let swapping = catalog::swap(&self.settings, base, &staged.location);
        let swapped = self.runtime.block_on(swapping);
        self.refresh().map_err(|error| {
            let message =
                format!("it is unknown whether upkeep was done, because afterwards the lake {error}");
            Error::new(ErrorKind::OutcomeUnknown, message)
        })?;
        // After an error only the table can tell.
        if matches!(swapped, Ok(true)) || self.knows(&staged.location) {
            return Ok(());
        }
        staged.delete();
        let conflict = || {
            let message =
                "other programs kept changing the lake's table: could not keep it in order; run again";
            Error::new(ErrorKind::Conflict, message)
        };
        Err(swapped.err().unwrap_or_else(conflict))
    }

    /// Whether the table's state is, or lately was, the one stored there.
    fn knows(&self, location: &str) -> bool {
        let log = self.table.metadata().metadata_log().iter();
        self.table.metadata_location() == Some(location)
            || log
                .map(|version| version.metadata_file.as_str())
                .any(|known| known == location)
    }
}

/// Whether the originals of these files are still in the table, and nothing is that may delete rows of them.
fn fits(lake: &Lake, inventory: &Inventory, files: &Rewritten) -> bool {
    let live = inventory.live_locations();
    let originals = files.inputs.iter().map(|input| input.location.as_str());
    !inventory.has_deletes
        && lake.table.metadata().default_partition_spec_id() == files.spec_id
        && originals.into_iter().all(|original| live.contains(original))
}

/// Without the snapshots that others have come to refer to meanwhile.
fn still_expired(inventory: &Inventory, expire: &[i64]) -> Vec<i64> {
    let snapshots = inventory.snapshots.iter();
    snapshots
        .filter(|snapshot| !snapshot.is_referenced && expire.contains(&snapshot.id))
        .map(|snapshot| snapshot.id)
        .collect()
}
