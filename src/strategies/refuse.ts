import { ConfigError, type ConfigProblem } from '../errors.ts'

/** For a strategy that is used without an engine, which would have asked its `check` before. */
export function refuse(problems: readonly ConfigProblem[]): void {
  if (problems.length > 0) throw new ConfigError(problems)
}
