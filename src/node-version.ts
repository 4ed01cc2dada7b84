/** The oldest Node that the package runs on, as package.json says in `engines`. */
const OLDEST = [22, 12] as const

/** The message for a version of Node that is too old; `version` as in `process.versions.node`. */
export function nodeProblem(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return undefined
  return `poolsmith needs Node.js ${OLDEST.join('.')} or later, and this is ${version}.`
}
