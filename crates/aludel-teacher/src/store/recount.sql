-- What there is, as `counts` has it.
DELETE FROM counts;
INSERT INTO counts
  SELECT 'prompts', 0, count(*) FROM prompts UNION ALL
  SELECT 'runs', 0, count(*) FROM runs UNION ALL
  SELECT 'wanted', run, sum(samples) FROM wanted GROUP BY run UNION ALL
  SELECT status, run, count(*) FROM traces GROUP BY status, run;
