/**
 * A command for whom the modes of files hold. They do for everybody but root, from whom the privilege to pass over them
 * is taken; to become another user instead would ask for a repository that others may read.
 */
export function unprivileged(command: readonly string[]): string[] {
  if (process.getuid?.() !== 0) return [...command]
  const without = '-dac_override,-dac_read_search'
  return ['setpriv', `--inh-caps=${without}`, `--bounding-set=${without}`, '--', ...command]
}
