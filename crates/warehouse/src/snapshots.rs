//! Snapshots: asks what columns query and table have now, and executes what the plan makes of that.

use cclake_plan::{SnapshotColumns, SnapshotStep};

use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::open::Warehouse;

impl Warehouse {
    /// Brings a snapshot's table up to date; says what was done.
    pub(crate) fn build_snapshot(&self, snapshot: &SnapshotStep) -> Result<String> {
        self.run_statements(&snapshot.node, &snapshot.before)?;
        let mut columns = SnapshotColumns::default();
        if snapshot.exists {
            let what = format!("{} failed", snapshot.node);
            columns.query = self.columns_of(&format!("select * from (\n{}\n)", snapshot.query), &what)?;
            columns.table = self.columns_of(&snapshot.relation.to_string(), &what)?;
        }
        let statements = snapshot
            .statements(&columns)
            .map_err(|error| Error::new(ErrorKind::Model, error.to_string()))?;
        self.run_statements(&snapshot.node, &statements)?;
        self.run_statements(&snapshot.node, &snapshot.after)?;
        Ok(if snapshot.exists {
            "new versions only".to_owned()
        } else {
            "its table did not exist yet".to_owned()
        })
    }

    /// Names and types of the columns of a table or query.
    fn columns_of(&self, what: &str, doing: &str) -> Result<Vec<(String, String)>> {
        let mut statement = self
            .connection
            .prepare(&format!("select column_name, column_type from (describe {what})"))
            .during(ErrorKind::Model, doing)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .during(ErrorKind::Model, doing)?;
        rows.collect::<std::result::Result<_, _>>()
            .during(ErrorKind::Model, doing)
    }
}
