"""Documents of a version: pure functions from a `tasks.core.dossier.Dossier` to text or bytes."""
