import { poolSuite } from '../support/pool-suite.ts'
import { sqlServerSide } from '../support/sides/sqlserver.ts'

poolSuite(sqlServerSide)
