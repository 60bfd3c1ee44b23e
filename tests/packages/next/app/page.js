import { Status } from "../realtime";

export default function Page() {
  return <Status />;
}
