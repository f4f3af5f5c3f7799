//! Upkeep: what makes a table of many small commits as quick as one of few large ones, and gives back its disk.
//!
//! First small files of a partition are written together, then one compare-and-swap commit makes a state current that
//! lists them in few manifests and forgets old snapshots, and last what nobody needs any more is deleted. No row comes,
//! goes or changes. A crash before the commit leaves files that nobody refers to, and one after it files that nobody
//! needs; both are deleted later, for their age.

mod compact;
mod garbage;
mod inventory;
mod plan;
mod settle;
mod swap;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use compact::Rewritten;
pub(crate) use garbage::Sweep;
use garbage::{References, Removable};
use iceberg::spec::DataFile;
pub(crate) use inventory::Depth;
use inventory::{Candidate, Inventory};
use plan::Plan;

use crate::commit::Patience;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::storage::local_path;

/// How often appends of one process look for data files that nobody needs: it takes a look at every file.
const SWEEP_PAUSE: Duration = Duration::from_hours(1);

/// How thorough upkeep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaintainOptions {
    /// Only find out what would be done.
    pub dry_run: bool,
    /// The most snapshots to keep, however young the others are. The current one stays, and what branches and tags of
    /// other programs point to.
    pub keep_snapshots: usize,
    /// How long an older one of them stays, and a data file that no snapshot refers to: at least as long as anyone takes to
    /// read the table or to write what is then committed.
    pub min_age: Duration,
}

impl Default for MaintainOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            // Each lengthens the metadata, which every commit writes, by about 700 bytes.
            keep_snapshots: 20,
            min_age: Duration::from_hours(24),
        }
    }
}

/// What upkeep did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintained {
    /// The table's data files.
    pub data_files: Change,
    /// Small data files that were written together, and what became of them.
    pub compacted_files: Change,
    /// Their bytes; what became of them is unknown before it is done.
    pub compacted_bytes: Change,
    /// The manifests of the current snapshot.
    pub manifests: Change,
    /// The table's snapshots.
    pub snapshots: Change,
    /// Files that were deleted.
    pub removed_files: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Why no files were compacted, if something stood in the way.
    pub not_compacted: Option<String>,
}

/// A number before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

/// What appends remember of the upkeep they did.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// After a failure the next one is not tried before this sequence number.
    not_before: i64,
    swept: Option<Instant>,
    failure: Option<Error>,
}

impl Lake {
    /// Brings the table into its best shape and deletes what nobody needs any more. Rows stay as they are, also for
    /// [`files_since`](Self::files_since): who asks for what is new gets all of it, and old rows at most where they were
    /// merged with new ones. Others may read and append meanwhile.
    ///
    /// # Errors
    /// The table is as it was, unless only the deletion failed.
    pub fn maintain(&mut self, options: &MaintainOptions) -> Result<Maintained> {
        self.tend(Depth::Full, Sweep::MetadataAndData, options)
    }

    /// Why upkeep failed that an append did, if it did. The append itself has landed all the same.
    pub fn take_upkeep_failure(&mut self) -> Option<Error> {
        self.upkeep.failure.take()
    }

    /// Does upkeep after a commit if it is time for it.
    pub(crate) fn keep_up(&mut self) {
        let options = MaintainOptions::default();
        let metadata = self.table.metadata();
        let now = metadata.last_sequence_number();
        if now < self.upkeep.not_before || !plan::is_due(metadata, options.keep_snapshots) {
            return;
        }
        let sweep = match self.upkeep.swept {
            Some(swept) if swept.elapsed() < SWEEP_PAUSE => Sweep::Metadata,
            _ => Sweep::MetadataAndData,
        };
        (self.settings.before_upkeep)();
        match self.tend(Depth::Light, sweep, &options) {
            Ok(_) if sweep == Sweep::MetadataAndData => self.upkeep.swept = Some(Instant::now()),
            Ok(_) => {}
            Err(error) => self.upkeep.failure = Some(error),
        }
        self.upkeep.not_before = now + plan::PAUSE;
    }

    /// Upkeep of the table as it is now.
    pub(crate) fn tend(
        &mut self,
        depth: Depth,
        sweep: Sweep,
        options: &MaintainOptions,
    ) -> Result<Maintained> {
        let mut patience = Patience::new(self.settings.commit_patience);
        self.refresh()?;
        loop {
            let base = self.table.metadata_location().map(str::to_owned);
            let error = match self.try_to_tend(depth, sweep, options) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            self.refresh()?;
            // The upkeep of another process may have deleted files of the state that was read.
            let has_moved = self.table.metadata_location() != base.as_deref();
            let Some(pause) = patience.pause().filter(|_| has_moved) else {
                return Err(error);
            };
            std::thread::sleep(pause);
        }
    }

    fn try_to_tend(&mut self, depth: Depth, sweep: Sweep, options: &MaintainOptions) -> Result<Maintained> {
        self.check_home()?;
        swap::check_format(&self.table)?;
        let inventory = self.runtime.block_on(Inventory::read(&self.table, depth))?;
        let plan = Plan::new(
            &inventory,
            inventory.candidates(&self.table)?,
            depth,
            options,
            now_ms(),
        );
        // Before the snapshots are gone.
        let gone = References::of(&self.table, &plan.expire, Sweep::Metadata);
        let gone = self.runtime.block_on(gone)?;
        let mut done = Maintained {
            not_compacted: plan.not_compacted.map(str::to_owned),
            ..Maintained::default()
        };
        self.measure(&mut done, |change| &mut change.before)?;
        if options.dry_run {
            let removable = self.removable(&plan.expire, &gone, sweep, options)?;
            foresee(
                &mut done,
                &plan,
                swap::manifests_after(&self.table, &inventory, &plan.compact),
            );
            return Ok(removed(done, &removable));
        }
        let rewritten = self.compact(plan.compact)?;
        let landed = self.settle(depth, inventory, rewritten, &plan.expire)?;
        let replaced = landed.iter().flat_map(|files| &files.inputs);
        garbage::begin_age(&self.table, replaced.map(|input| input.file.path.as_path()));
        let deleted = garbage::delete(self.removable(&[], &gone, sweep, options)?);
        count_compacted(&mut done, &landed);
        self.measure(&mut done, |change| &mut change.after)?;
        Ok(removed(done, &deleted))
    }

    /// A lake that was copied says that its files are where the original's are.
    fn check_home(&self) -> Result<()> {
        let home = local_path(self.table.metadata().location());
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if real(&home).starts_with(real(&self.settings.warehouse)) {
            return Ok(());
        }
        let message = format!(
            "the lake in {} says that its table is at {}, so it is left alone",
            self.settings.warehouse.display(),
            home.display()
        );
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    fn compact(&self, groups: Vec<Vec<Candidate>>) -> Result<Vec<Rewritten>> {
        let mut rewritten = Vec::new();
        for group in groups {
            match compact::rewrite(self, group) {
                Ok(files) => rewritten.push(files),
                Err(error) => {
                    take_back(rewritten);
                    return Err(error);
                }
            }
        }
        Ok(rewritten)
    }

    /// What can be deleted once the snapshots `expire` are gone, and `gone` with them.
    fn removable(
        &self,
        expire: &[i64],
        gone: &References,
        sweep: Sweep,
        options: &MaintainOptions,
    ) -> Result<Vec<Removable>> {
        let snapshots = self.table.metadata().snapshots();
        let kept: Vec<i64> = snapshots
            .map(|snapshot| snapshot.snapshot_id())
            .filter(|id| !expire.contains(id))
            .collect();
        let kept = self.runtime.block_on(References::of(&self.table, &kept, sweep))?;
        garbage::removable(&self.table, &kept, gone, options.min_age)
    }

    fn measure(&self, done: &mut Maintained, side: fn(&mut Change) -> &mut u64) -> Result<()> {
        let metadata = self.table.metadata();
        let listed = inventory::manifests(&self.table, metadata.current_snapshot_id());
        let listed = self.runtime.block_on(listed)?;
        *side(&mut done.manifests) = listed.len() as u64;
        *side(&mut done.data_files) = inventory::data_files(&listed);
        *side(&mut done.snapshots) = metadata.snapshots().len() as u64;
        Ok(())
    }
}

/// What would be after a plan was carried out.
fn foresee(done: &mut Maintained, plan: &Plan, manifests: usize) {
    let inputs = || plan.compact.iter().flatten();
    let (files, groups) = (inputs().count() as u64, plan.compact.len() as u64);
    done.compacted_files = Change {
        before: files,
        after: groups,
    };
    done.compacted_bytes.before = inputs().map(|input| input.bytes).sum();
    done.data_files.after = done.data_files.before - files + groups;
    done.manifests.after = manifests as u64;
    done.snapshots.after = done.snapshots.before - plan.expire.len() as u64
        + u64::from(done.manifests.after != done.manifests.before || groups > 0);
}

fn count_compacted(done: &mut Maintained, landed: &[Rewritten]) {
    let inputs = || landed.iter().flat_map(|files| &files.inputs);
    let outputs = || landed.iter().flat_map(|files| &files.outputs);
    done.compacted_files = Change {
        before: inputs().count() as u64,
        after: outputs().count() as u64,
    };
    done.compacted_bytes = Change {
        before: inputs().map(|input| input.bytes).sum(),
        after: outputs().map(DataFile::file_size_in_bytes).sum(),
    };
}

fn removed(mut done: Maintained, files: &[Removable]) -> Maintained {
    done.removed_files = files.len() as u64;
    done.removed_bytes = files.iter().map(|file| file.bytes).sum();
    done
}

/// Deletes files that are known not to be in the table.
fn take_back(rewritten: Vec<Rewritten>) {
    for files in rewritten {
        files.traces.delete();
    }
}

/// Now, as snapshots note it.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}
