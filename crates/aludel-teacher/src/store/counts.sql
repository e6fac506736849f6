-- How many rows there are, as those who wrote them counted: what a damaged file hides is missed.
CREATE TABLE counts (
  what TEXT NOT NULL,             -- prompts, runs, wanted (answers), or a trace's status
  run INTEGER NOT NULL,           -- 0: of the whole store
  number INTEGER NOT NULL,
  PRIMARY KEY (what, run)
) WITHOUT ROWID;
CREATE TRIGGER prompts_added AFTER INSERT ON prompts BEGIN
  INSERT INTO counts VALUES ('prompts', 0, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER prompts_removed AFTER DELETE ON prompts BEGIN
  UPDATE counts SET number = number - 1 WHERE what = 'prompts' AND run = 0;
END;
CREATE TRIGGER runs_added AFTER INSERT ON runs BEGIN
  INSERT INTO counts VALUES ('runs', 0, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER runs_removed AFTER DELETE ON runs BEGIN
  UPDATE counts SET number = number - 1 WHERE what = 'runs' AND run = 0;
END;
CREATE TRIGGER wanted_added AFTER INSERT ON wanted BEGIN
  INSERT INTO counts VALUES ('wanted', NEW.run, NEW.samples)
    ON CONFLICT DO UPDATE SET number = number + excluded.number;
END;
CREATE TRIGGER wanted_changed AFTER UPDATE ON wanted BEGIN
  UPDATE counts SET number = number - OLD.samples WHERE what = 'wanted' AND run = OLD.run;
  INSERT INTO counts VALUES ('wanted', NEW.run, NEW.samples)
    ON CONFLICT DO UPDATE SET number = number + excluded.number;
END;
CREATE TRIGGER wanted_removed AFTER DELETE ON wanted BEGIN
  UPDATE counts SET number = number - OLD.samples WHERE what = 'wanted' AND run = OLD.run;
END;
CREATE TRIGGER traces_added AFTER INSERT ON traces BEGIN
  INSERT INTO counts VALUES (NEW.status, NEW.run, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER traces_changed AFTER UPDATE OF status, run ON traces BEGIN
  UPDATE counts SET number = number - 1 WHERE what = OLD.status AND run = OLD.run;
  INSERT INTO counts VALUES (NEW.status, NEW.run, 1) ON CONFLICT DO UPDATE SET number = number + 1;
END;
CREATE TRIGGER traces_removed AFTER DELETE ON traces BEGIN
  UPDATE counts SET number = number - 1 WHERE what = OLD.status AND run = OLD.run;
END;
