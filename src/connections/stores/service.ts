import type { ReadConnection } from '../parse.ts'

/** With `service` replaced by what it says, where the record names one. */
export async function withService(read: ReadConnection): Promise<ReadConnection> {
  if (read.connection?.extra['service'] === undefined) return read
  const { readService } = await import('./service-file.ts')
  return readService(read)
}
