"""Why a run does not learn: known illnesses, looked for in what it left behind."""
