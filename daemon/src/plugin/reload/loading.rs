//! The libraries of wanted broadcasters: found or tried, asked about settings, and loaded when all is well.

use serde_json::{Map, Value};

use super::{Loaded, Prepared, of_settings, problem};
use crate::plugin::files::{Choice, Files};
use crate::plugin::library::{Library, Taken};
use crate::plugin::note::Unusable;
use crate::plugin::plan::Wanted;
use crate::plugin::port::Fault;
use crate::plugin::stream::declaration;
use crate::plugin::{Problem, Supervisor};

impl Supervisor {
    pub(super) fn load(&self, mut wanted: Wanted, files: Files<'_>) -> Result<Loaded, Vec<Problem>> {
        let unusable = |why: String| vec![problem(&wanted.name, "/plugin", why)];
        let library = self.library_for(&wanted.name, &wanted.plugin, wanted.sha256.as_deref(), files);
        let Choice { library, file } = library.map_err(|why| unusable(why.to_string()))?;
        let taken = self.take(&library, &wanted).map_err(|why| unusable(why.to_string()))?;
        let at_their_places =
            |faults: Vec<Fault>| faults.iter().map(|fault| of_settings(&wanted.name, fault)).collect();
        let taken = taken.map_err(at_their_places)?;
        let mut warnings: Vec<Problem> = at_their_places(taken.odd);
        warnings.extend(unheard(&library, &wanted));
        let spec = declaration(&taken.stream);
        let spec = spec.map_err(|why| unusable(format!("plugin {}: {why}", wanted.plugin)))?;
        wanted.file_sha256.clone_from(&library.sha256);
        Ok(Loaded { wanted, library, spec, warnings, file })
    }

    /// All is well with them: now they are loaded here.
    pub(super) fn load_tried(&self, prepared: &mut Prepared) -> Result<(), Vec<Problem>> {
        for one in prepared.wanted.values_mut() {
            let Some(image) = &one.library.tried else { continue };
            let here = self.load_here(image, one.library.note.clone());
            one.library = here.map_err(|why| vec![problem(&one.wanted.name, "/plugin", why.to_string())])?;
        }
        Ok(())
    }

    /// What the plugin makes of settings. One that was tried makes an instance of them there, too.
    fn take(&self, library: &Library, wanted: &Wanted) -> Result<Result<Taken, Vec<Fault>>, Unusable> {
        let settings = wanted.settings.to_string();
        match (&library.tried, self.trial.get()) {
            (Some(image), Some(trial)) => trial.settings(&self.place(image, &library.note), &wanted.name, settings),
            _ => Ok(library.take(&wanted.name, &settings, self.config.timing.create)),
        }
    }
}

/// A setting that asks for inputs, by the word `x-listens` of the plugin's schema, where the broadcaster listens to nothing.
fn unheard(library: &Library, wanted: &Wanted) -> Option<Problem> {
    if !wanted.listen.is_empty() {
        return None;
    }
    let schema: Map<String, Value> = serde_json::from_str(&library.facts.config_schema).ok()?;
    let asks = |(name, declared): (&String, &Value)| {
        let value = wanted.settings.get(name)?;
        declared.get("x-listens")?.as_array()?.contains(value).then(|| (name.clone(), value.clone()))
    };
    let (setting, value) = schema.get("properties")?.as_object()?.iter().find_map(asks)?;
    let broadcaster = &wanted.name;
    let why = format!(
        "nothing ever comes in: {value} come from streams, and the broadcaster listens to none; add \
         listen = [\"STREAM\"] to [broadcasters.{broadcaster}]"
    );
    Some(problem(broadcaster, &format!("/settings/{setting}"), why))
}
