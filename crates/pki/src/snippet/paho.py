# Connects as @NAME@ with Eclipse Paho: pip install "paho-mqtt>=2"@BROKER_NOTE@
import ssl

import paho.mqtt.client as mqtt

tls = ssl.create_default_context(cafile="@DIR@/ca.crt")
tls.load_cert_chain("@DIR@/@NAME@.crt", "@DIR@/@NAME@.key")

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="@NAME@", clean_session=False)
client.tls_set_context(tls)
client.will_set("status/@NAME@", "offline", qos=1, retain=True)
client.reconnect_delay_set(min_delay=1, max_delay=60)


def connected(client, userdata, flags, reason, properties):
    client.publish("status/@NAME@", "online", qos=1, retain=True)
    client.subscribe("fleet/@NAME@/down/#", qos=1)


client.on_connect = connected
client.on_message = lambda client, userdata, message: print(message.topic, message.payload)
client.connect("@BROKER@", @PORT@)
client.loop_forever()
