/**
 * A command to which file modes apply. Root loses its privilege to ignore them. A change to another user would need a
 * repository that other users may read.
 */
export function unprivileged(command: readonly string[]): string[] {
  if (process.getuid?.() !== 0) return [...command]
  const without = '-dac_override,-dac_read_search'
  return ['setpriv', `--inh-caps=${without}`, `--bounding-set=${without}`, '--', ...command]
}

/** User ids that exist nowhere else: they own no files and no processes of the machine. */
export const OTHER_USERS = { alice: 47_111, mallory: 47_112 } as const

/**
 * A command as another user, for tests that run as root. It may read every file, so that it can load this repository,
 * but owns and writes only what that user may.
 */
export function asUser(user: number, command: readonly string[]): string[] {
  const reading = '+dac_read_search'
  const identity = [`--reuid=${user}`, `--regid=${user}`, '--clear-groups']
  return ['setpriv', ...identity, `--inh-caps=${reading}`, `--ambient-caps=${reading}`, '--', ...command]
}
