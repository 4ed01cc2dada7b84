/**
 * Stands where a cache's name would, when the daemon gssproxy keeps the credential: its keys never reach this process
 * (gssproxy(8), GSS_USE_PROXY).
 */
export const GSSPROXY = 'GSSPROXY'

/** Whether the GSS library of this process hands its calls to gssproxy. */
export function usesGssproxy(environment: Readonly<Record<string, string | undefined>> = process.env): boolean {
  return /^(1|on|true|yes)$/i.test(environment.GSS_USE_PROXY ?? '')
}
