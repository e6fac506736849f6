-- What is asked. One row for each list of messages that differs from all others.
CREATE TABLE prompts (
  id INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,      -- of the messages
  messages TEXT NOT NULL,         -- JSON: [{"role": …, "content": …}, …]
  columns TEXT NOT NULL,          -- JSON object: the row's other columns, right answers among them
  origin TEXT NOT NULL,           -- file and line
  digest TEXT NOT NULL DEFAULT '' -- of all other columns but the id, as below
);
-- How it is asked: one row for each teacher and settings that change its answers.
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,      -- of the settings
  teacher TEXT NOT NULL,          -- the model
  settings TEXT NOT NULL,         -- JSON object, the model included
  created INTEGER NOT NULL,       -- milliseconds since 1970, as everywhere below
  digest TEXT NOT NULL DEFAULT ''
);
-- How many answers are wanted.
CREATE TABLE wanted (
  run INTEGER NOT NULL REFERENCES runs(id),
  prompt INTEGER NOT NULL REFERENCES prompts(id),
  samples INTEGER NOT NULL,
  PRIMARY KEY (run, prompt)
) WITHOUT ROWID;
-- What was answered: one row for each run, prompt and sample.
CREATE TABLE traces (
  id INTEGER PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,      -- of the run's hash, the prompt's hash and the sample
  run INTEGER NOT NULL REFERENCES runs(id),
  prompt INTEGER NOT NULL REFERENCES prompts(id),
  sample INTEGER NOT NULL,        -- from 0
  status TEXT NOT NULL CHECK (status IN ('complete', 'cut', 'failed')),
  finish_reason TEXT,
  prompt_tokens INTEGER,
  completion_tokens INTEGER,
  cost REAL,                      -- dollars; NULL where the price is not known
  first_token_ms INTEGER,
  elapsed_ms INTEGER,
  attempts INTEGER NOT NULL,
  endpoint TEXT NOT NULL,
  model TEXT,                     -- as the server calls it
  created INTEGER NOT NULL,
  error TEXT,                     -- of a failed one: the server's words
  reasoning TEXT,
  content TEXT,
  logprobs BLOB,                  -- JSON packed with zstd
  digest TEXT NOT NULL DEFAULT '',
  UNIQUE (run, prompt, sample)
);
CREATE INDEX traces_numbers ON traces (run, status, prompt_tokens, completion_tokens, cost);
-- Processes that ask, and what they are asking: gone once they are.
CREATE TABLE owners (
  id INTEGER PRIMARY KEY,
  host TEXT NOT NULL,             -- machine, boot and process namespace
  pid INTEGER NOT NULL,
  started TEXT NOT NULL,          -- tells processes of one number apart
  lease INTEGER NOT NULL          -- until when it counts as living
);
CREATE TABLE claims (
  run INTEGER NOT NULL,
  prompt INTEGER NOT NULL,
  sample INTEGER NOT NULL,
  owner INTEGER NOT NULL REFERENCES owners(id) ON DELETE CASCADE,
  PRIMARY KEY (run, prompt, sample)
) WITHOUT ROWID;
CREATE INDEX claims_owner ON claims (owner);
