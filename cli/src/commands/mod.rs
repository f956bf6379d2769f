//! One file per subcommand.

pub(crate) mod collect;
pub(crate) mod publish;
pub(crate) mod rehearse;
pub(crate) mod run;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod worker;
