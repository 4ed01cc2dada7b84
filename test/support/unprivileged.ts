/**
 * A command for whom the modes of files hold. They do for everybody but root, from whom the privilege to pass over them
 * is taken; to become another user instead would ask for a repository that others may read.
 */
export function unprivileged(command: readonly string[]): string[] {
  if (process.getuid?.() !== 0) return [...command]
  const without = '-dac_override,-dac_read_search'
  return ['setpriv', `--inh-caps=${without}`, `--bounding-set=${without}`, '--', ...command]
}

/** Users that exist nowhere else: neither files nor processes of the machine are theirs. */
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
