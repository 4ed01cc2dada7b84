import { join } from 'node:path'

/**
 * Removes all AWS settings from the environment of this process, those of the machine too, and names files in `folder`
 * in place of `~/.aws`.
 */
export function clearAwsEnvironment(folder: string): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
  process.env.AWS_CONFIG_FILE = join(folder, 'config')
  process.env.AWS_SHARED_CREDENTIALS_FILE = join(folder, 'credentials')
}
