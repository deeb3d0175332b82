//! The data folder of a service as an input, while the service runs or not.

use std::path::Path;

use eqlipse_server::Config;
use eqlipse_store::StoreView;

use crate::args::ConfigSource;
use crate::exit::CliError;
use crate::output::Messages;
use crate::serve::settings;
use crate::text::shown;

/// Whether a path is the data folder of a service.
pub fn is_one(path: &Path) -> bool {
    path.join("events").join("catalogue.sqlite").is_file()
}

/// The events in a data folder at this moment. Where else segments may be, the settings say. Says what is damaged.
pub fn view(folder: &Path, config: Option<&Path>, messages: Messages) -> Result<StoreView, CliError> {
    let source = ConfigSource { config: config.map(Path::to_owned), data: Some(folder.to_owned()) };
    view_of(&settings(&source)?, messages)
}

/// As [`view`], with these settings.
pub fn view_of(config: &Config, messages: Messages) -> Result<StoreView, CliError> {
    let view = eqlipse_server::view(config);
    let view = view.map_err(|error| CliError::Run(shown(&error.to_string()).into_owned()))?;
    for path in &view.damaged {
        messages.error(&format!("damaged or missing: {}", shown(&path.display().to_string())));
    }
    Ok(view)
}
