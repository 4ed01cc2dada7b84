/**
 * An RDS endpoint states its region: `name.id.eu-west-1.rds.amazonaws.com` (instances, clusters, proxies and their
 * endpoints) and, in China, also `name.id.rds.cn-north-1.amazonaws.com.cn`.
 */
const PATTERNS = [
  /\.([a-z]{2}(?:-[a-z]+)+-\d+)\.rds\.amazonaws\.com(?:\.cn)?$/,
  /\.rds\.([a-z]{2}(?:-[a-z]+)+-\d+)\.amazonaws\.com(?:\.cn)?$/,
]

export function regionOfHost(host: string): string | undefined {
  const name = host.toLowerCase().replace(/\.$/, '')
  for (const pattern of PATTERNS) {
    const match = pattern.exec(name)
    if (match !== null) return match[1]
  }
  return undefined
}
