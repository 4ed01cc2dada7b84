import { errorCode, errorText } from './any-error.ts'
import { PoolsmithError } from './errors.ts'

/**
 * Loads an optional package on first use. A package that is not installed becomes `PACKAGE_MISSING` with the
 * command that installs it; any other failure while loading is passed on as it is.
 *
 * @param name the package as npm knows it
 * @param load the dynamic import itself, written at the call so that bundlers and types see it
 * @param neededFor what the user asked for, as in `auth_method=iam`
 *
 * @example
 * const { Signer } = await loadPackage('@aws-sdk/rds-signer', () => import('@aws-sdk/rds-signer'), 'auth_method=iam')
 */
export async function loadPackage<Module>(
  name: string,
  load: () => Promise<Module>,
  neededFor: string,
): Promise<Module> {
  try {
    return await load()
  } catch (cause) {
    if (!isMissing(cause, name)) throw cause
    throw new PoolsmithError(`${neededFor} needs the package ${name}, which is not installed.`, {
      code: 'PACKAGE_MISSING',
      phase: 'config',
      hint: `npm install ${name}`,
      details: { package: name },
      cause,
    })
  }
}

/** Only the package itself counts: a file missing inside an installed package is that package's own fault. */
function isMissing(error: unknown, name: string): boolean {
  const code = errorCode(error)
  return (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && errorText(error).includes(`'${name}'`)
}
